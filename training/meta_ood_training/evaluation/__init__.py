"""
Bundles x data sets -> scores of pixels, and of published segments.

1. `bundle_scores`     `evaluate`, the whole way; `command` is its verb, `opening` opens its data
2. `prediction`        network -> semantic, entropy and max_probability at the size of the labels
3. `pixel_evaluation`  predictions on a data set, in one pass
                       `frame_walk`: damaged frames skipped, interrupted passes resumed;
                       `sharing`: over the processes of torchrun
                       `misclassification`: wrong classes, as what a score is to find
                       `components`: a second pass with the thresholds found
4. `report`, `figures` Markdown, JSON, PNG
5. `bench`             `evaluate --methods`: every score of the papers, ranked
   `fit_score`         a fitted method, kept for it; `fit_command` is its verb
6. `deployed_run`      `evaluate --segments`, of these rooms:
   `publishing`        bundle + labelled images -> the segments that the node would publish
   `deployed`          published segments -> found objects, false segments, reliability
   `deployed_comparison`  published segments of two bundles -> their difference, in pairs
   `deployed_report`   Markdown, JSON; `gallery`: the images with most errors
"""

from typing import TYPE_CHECKING

from meta_ood_training.lazy_exports import export_lazily

if TYPE_CHECKING:
    from meta_ood_training.evaluation.bundle_scores import evaluate as evaluate
    from meta_ood_training.evaluation.bundle_scores import EvaluationResult as EvaluationResult

__getattr__ = export_lazily(
    __name__, {'evaluate': 'bundle_scores', 'EvaluationResult': 'bundle_scores'}
)
