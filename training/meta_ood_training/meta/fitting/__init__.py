"""
From segments to a classifier and its honest predictions.

1. `standardization`      metrics -> z-scores
2. `logistic_regression`, `neural_meta`, `gradient_boosting`  the three classifiers
3. `block_gaps`           which frames are too near to a held-out block
4. `cross_validation`     segments and groups -> out-of-fold logits
5. `leave_one_out`, `left_out_segments`  the published protocol, exactly
6. `calibration`          logits -> probabilities and the operating point
7. `fit`                  all of this for one entropy threshold
"""
