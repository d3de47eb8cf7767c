"""
Several answers of one network or of several -> how far they agree.

1. `samples`     predictive entropy and mutual information of several softmax
2. `mc_dropout`  answers of one network with dropout
3. `ensemble`    answers of the networks of several bundles
4. `entries`     all of it in the registry
"""
