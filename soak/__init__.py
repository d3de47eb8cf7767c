"""
Attacks that go on for long, each with a seed: what breaks is a row of a table, not a surprise.

1. `bags`   recordings with flipped bits, cut, with parts missing or doubled -> both their readers
2. `kills`  writers killed at random moments -> the old or the new whole; `written`: what is whole
"""
