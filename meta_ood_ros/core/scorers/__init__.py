"""
Image, logits and features -> how out-of-distribution each pixel is: the scores that a node serves.

1. `scorer`         what every score offers: `score`, `state`, `from_state`
2. `logit_scorer`   scores of the upsampled logits of one pixel
3. `softmax`        entropy, msp, margin, variation_ratio
"""

from meta_ood_ros.core.scorers.logit_scorer import LogitScorer
from meta_ood_ros.core.scorers.scorer import Scorer
from meta_ood_ros.core.scorers.softmax import (
    EntropyScorer,
    MarginScorer,
    MaxSoftmaxScorer,
    VariationRatioScorer,
)

__all__ = [
    'EntropyScorer',
    'LogitScorer',
    'MarginScorer',
    'MaxSoftmaxScorer',
    'Scorer',
    'VariationRatioScorer',
]
