"""
Measurements: every figure a ratio to a named baseline, taken in turns within one run.

    python -m benchmarks [--list] [--only NAME ...] [--rounds 9] [--results FOLDER]

* `figures`   what a figure consists of, which there are, and how they are written down
* `segments`  what follows the network: logits -> segments with their metrics and places
* `network`   the network on each backend, beside others, and against what the machine allows
* `node`      what the node adds in time and memory
* `training`  fine-tuning, leave-one-out and the methods that are compared offline
* `quality`   no times: what is found, and how well it is placed

Baselines are written by us from the published definitions.
"""
