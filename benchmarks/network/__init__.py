"""
The network on each backend, beside others, and against what the machine allows.

* `default_bundle` on each backend, `cameras` in one batch, `busy_neighbour` beside busy loops
* `flops` of a forward pass, `floors` of the time it takes
* `gpu`, a figure, and `gpu_script`: everything that only a GPU can show (`make gpu`)
"""
