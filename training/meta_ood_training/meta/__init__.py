"""
Segments -> a meta classifier that was judged honestly, in a new bundle.

1. `fitted_bundle`  `fit_meta`, the whole way, to a `result`; `command` is its verb
2. `options`        what may be chosen; `core_thresholds`: where segments are cut
3. `checks`, `test_checks`  refusals before hours of fitting
4. `fitting`        segments -> classifiers and out-of-fold predictions
5. `judging`        predictions -> errors, intervals, what decides
6. `stages`         before and after OoD training and meta classification, on the test
7. `reporting`      all numbers -> report.json, report.md, figures
"""

from typing import TYPE_CHECKING

from meta_ood_training.lazy_exports import export_lazily

if TYPE_CHECKING:
    from meta_ood_training.meta.fitted_bundle import fit_meta as fit_meta
    from meta_ood_training.meta.options import FitMetaOptions as FitMetaOptions
    from meta_ood_training.meta.result import FitMetaResult as FitMetaResult

__getattr__ = export_lazily(
    __name__,
    {'fit_meta': 'fitted_bundle', 'FitMetaOptions': 'options', 'FitMetaResult': 'result'},
)
