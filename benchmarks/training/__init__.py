"""
What the offline half takes.

* `finetune_throughput` against a plain loop, `leave_one_out` against scikit-learn
* `methods_cost` of every OoD score
* `ingredients`         what each part of the default's recipe is worth: no times
"""
