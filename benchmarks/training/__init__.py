"""
What the offline half takes.

* `finetune_throughput` against a plain loop, `leave_one_out` against scikit-learn
* `methods_cost` of every OoD score
"""
