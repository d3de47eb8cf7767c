"""
Scores of pixels and segments, exact or with their bound.

histogram       scores -> counts on the order of float32, streaming
pixel_scores    counts -> AUROC, AP, FPR95, max J, curves
confusion       classes -> mIoU, also over the entropy threshold
groups          names of groups -> what must not be torn apart
bootstrap       groups -> 95 % intervals
components      masks -> sIoU, PPV, F1 of SegmentMeIfYouCan
adjusted_iou    segments + ground truth -> adjusted IoU
"""

from meta_ood_training.scores.adjusted_iou import measure_adjusted_iou
from meta_ood_training.scores.bootstrap import GroupCounts, Interval
from meta_ood_training.scores.components import (
    average_components,
    ComponentCounts,
    ComponentScores,
    measure_components,
    SIOU_THRESHOLDS,
    SIZE_RULES,
    SizeRule,
)
from meta_ood_training.scores.confusion import ConfusionCounts
from meta_ood_training.scores.histogram import (
    COUNTS_LAYOUT,
    RefinedCounts,
    ScoreCounts,
    ScoreHistogram,
)
from meta_ood_training.scores.pixel_scores import (
    find_best_f1,
    find_decisive_bins,
    measure_scores,
    PixelScores,
    precision_recall_curve,
    roc_curve,
)

__all__ = [
    'COUNTS_LAYOUT',
    'SIOU_THRESHOLDS',
    'SIZE_RULES',
    'ComponentCounts',
    'ComponentScores',
    'ConfusionCounts',
    'GroupCounts',
    'Interval',
    'PixelScores',
    'RefinedCounts',
    'ScoreCounts',
    'ScoreHistogram',
    'SizeRule',
    'average_components',
    'find_best_f1',
    'find_decisive_bins',
    'measure_adjusted_iou',
    'measure_components',
    'measure_scores',
    'precision_recall_curve',
    'roc_curve',
]
