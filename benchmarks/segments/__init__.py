"""
What follows the network: logits -> segments with their metrics and places.

* `synthetic` logits with known segments, and `naive`, the baselines
* `post_processing` all of it, `metrics_of_segments` and `places_of_segments` these alone
* `growth` in seconds, and `instructions`, which valgrind counts in `instruction_driver`
"""
