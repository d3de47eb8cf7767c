"""
Attacks that go on for long, each with a seed: what breaks is a row of a table, not a surprise.

Each room has `run(count, seed) -> rows`; `python -m soak` (`make soak`) runs all of them.

1. `messages`    whatever a camera may send -> the decoders, and `node_messages`: the node
2. `parameters`  every name, type and value, in every state of the node
3. `lifecycle`   random walks through its states; memory must not grow
4. `frames`      bursts faster than the network: counters add up, no answer is too old
5. `faults`      a network that raises, answers NaN or hangs
6. `bundles`     flipped bits, and descriptions that say what they should not
7. `bags`        recordings with flipped bits, cut, with parts missing or doubled
8. `kills`       writers killed at random moments; `written`: what is whole

`bounded` runs trials in a process with bounded memory and time, `live_node` is the node there;
`damage` flips bits, `tiny_data` is what the killed `writer_process` writes from.
"""
