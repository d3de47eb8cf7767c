"""
Segments -> a meta classifier that was judged honestly, in a new bundle.

1. `command`      `meta-ood-train fit-meta`
2. `options`      its options
3. `checks`, `test_checks`  refusals before hours of fitting
4. `fitting`      segments -> classifiers and out-of-fold predictions
5. `judging`      predictions -> errors, intervals, what decides
6. `stages`       before and after OoD training and meta classification, on the test
7. `reporting`    all numbers -> report.json, report.md, figures
"""
