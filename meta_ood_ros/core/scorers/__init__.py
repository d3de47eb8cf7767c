"""
Image, logits and features -> how out-of-distribution each pixel is: the scores that a node serves.

1. `scorer`         what every score offers: `score`, `state`, `from_state`
2. `logit_scorer`   scores of the upsampled logits of one pixel
3. `softmax`        entropy, msp, margin, variation_ratio
4. `logit_size`     max_logit, energy
5. `standardized_max_logit`, `vim`    fitted on in-distribution pixels
6. `score_scale`    any unit -> [0, 1], by in-distribution pixels; `served`: as the node serves it
"""

from meta_ood_ros.core.scorers.logit_scorer import LogitScorer
from meta_ood_ros.core.scorers.logit_size import EnergyScorer, MaxLogitScorer
from meta_ood_ros.core.scorers.score_scale import ScoreScale
from meta_ood_ros.core.scorers.scorer import Scorer
from meta_ood_ros.core.scorers.served import (
    bundle_threshold,
    check_classifiers,
    check_servable,
    FittedScore,
    SCORERS,
    serve,
    ServedScore,
)
from meta_ood_ros.core.scorers.softmax import (
    EntropyScorer,
    MarginScorer,
    MaxSoftmaxScorer,
    VariationRatioScorer,
)
from meta_ood_ros.core.scorers.standardized_max_logit import StandardizedMaxLogitScorer
from meta_ood_ros.core.scorers.vim import VimScorer

__all__ = [
    'SCORERS',
    'EnergyScorer',
    'EntropyScorer',
    'FittedScore',
    'LogitScorer',
    'MarginScorer',
    'MaxLogitScorer',
    'MaxSoftmaxScorer',
    'ScoreScale',
    'Scorer',
    'ServedScore',
    'StandardizedMaxLogitScorer',
    'VariationRatioScorer',
    'VimScorer',
    'bundle_threshold',
    'check_classifiers',
    'check_servable',
    'serve',
]
