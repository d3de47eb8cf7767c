"""
What a meta classifier computes: segment metrics (K, D) -> logits of true OoD (K,), by numpy alone.

1. `dense_layers`    standardization and layers with ReLU between: logistic regression, network
2. `boosted_trees`   decision trees whose leaves add up: gradient boosting
3. `finite_arrays`   what each array of them must hold
"""
