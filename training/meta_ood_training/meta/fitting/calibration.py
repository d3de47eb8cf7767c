"""
Out-of-fold logits -> calibrated probabilities, their reliability, and the operating point.

scikit-learn fits the calibration. The bins are ours: its `calibration_curve` drops empty bins and
counts none, so that the expected calibration error cannot be had from it, and it puts 0.1 in the
first of ten bins. `CalibratedClassifierCV` wants an estimator to refit, and cuts no far logit.
"""

from __future__ import annotations

from dataclasses import dataclass

from meta_ood_training.meta.options import RULES
from meta_ood_training.segments.segment_set import PublishedSegments, SegmentSet
import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

_BINS = 10
# odds of 1 to 3,000: beyond, the calibration is a straight continuation
_FARTHEST_LOGIT = 8.0


@dataclass(frozen=True, eq=False)
class Reliability:
    """
    Predicted against observed frequency of true segments.

    Parameters
    ----------
    predicted, observed : ndarray of shape (B,), float64
        Means of each bin; NaN where it is empty.
    count : ndarray of shape (B,), int64

    """

    predicted: np.ndarray
    observed: np.ndarray
    count: np.ndarray
    ece: float


def measure_reliability(
    probability: np.ndarray, is_true_ood: np.ndarray, *, bins: int = _BINS
) -> Reliability:
    """
    Compare probabilities with what happened, in bins of equal width.

    Parameters
    ----------
    probability : ndarray of shape (K,)
        In [0, 1].
    is_true_ood : ndarray of shape (K,), bool
        True segments are the positive class.

    """
    index = np.minimum((probability * bins).astype(np.int64), bins - 1)
    count = np.bincount(index, minlength=bins)
    with np.errstate(invalid='ignore'):
        predicted = np.bincount(index, weights=probability, minlength=bins) / count
        observed = np.bincount(index, weights=is_true_ood, minlength=bins) / count
    used = count > 0
    gap = np.abs(predicted - observed)[used]
    ece = float(np.average(gap, weights=count[used])) if used.any() else float('nan')
    return Reliability(predicted, observed, count, ece)


def fit_calibration(logit: np.ndarray, is_true_ood: np.ndarray) -> tuple[float, float]:
    """
    Return slope and intercept with which the logits predict best (Platt scaling).

    Parameters
    ----------
    logit : ndarray of shape (K,), float64
        Out-of-fold logits.
    is_true_ood : ndarray of shape (K,), bool
        True segments are the positive class.

    Returns
    -------
    (float, float)
        Maximum likelihood with Platt's smoothed targets (N+ + 1) / (N+ + 2) and 1 / (N- + 2),
        which keep it finite where the logits separate the classes. A slope below 0 would turn the
        classifier round: then (1, 0), i.e. no calibration, is returned.

    """
    true = int(is_true_ood.sum())
    # one segment with a logit of -40 would otherwise flatten the curve for all others
    logit = np.clip(logit, -_FARTHEST_LOGIT, _FARTHEST_LOGIT)
    share = np.where(is_true_ood, (true + 1) / (true + 2), 1 / (len(logit) - true + 2))
    if logit.min() == logit.max():
        return 1.0, 0.0
    centre, spread = float(logit.mean()), float(logit.std())
    # a target between the classes is one segment of each, weighted with its share
    x = np.tile((logit - centre) / spread, 2)[:, None]
    label = np.repeat([1, 0], len(logit))
    model = LogisticRegression(C=np.inf, solver='newton-cholesky', tol=1e-10)
    model.fit(x, label, sample_weight=np.concatenate([share, 1 - share]))
    slope = float(model.coef_[0, 0] / spread)
    if slope <= 0.0:
        return 1.0, 0.0
    return slope, float(model.intercept_[0] - slope * centre)


def cross_calibrate(logit: np.ndarray, is_true_ood: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """
    Return calibrated probabilities, each from the calibration of the other folds, (K,).

    Folds whose complement holds one class only keep their logit as it is.
    """
    probability = expit(logit)
    for number in np.unique(fold):
        held_out = fold == number
        others = is_true_ood[~held_out]
        if 0 < others.sum() < len(others):
            slope, intercept = fit_calibration(logit[~held_out], others)
            probability[held_out] = expit(slope * logit[held_out] + intercept)
    return probability


@dataclass(frozen=True)
class OperatingPoint:
    """
    Where to cut, and what that does to what it was chosen on: judged or published segments.

    Parameters
    ----------
    logit : float
        Segments whose (uncalibrated) logit of true OoD is at or above it are accepted;
        -inf accepts all, inf none.

    """

    logit: float
    rule: str
    false_positives: int
    missed_objects: int
    f1: float


def choose_operating_point(
    segments: SegmentSet,
    logit: np.ndarray,
    *,
    rule: str = 'max_f1',
    bound: float = 0.05,
    frames: np.ndarray | None = None,
    published: PublishedSegments | None = None,
) -> OperatingPoint:
    """
    Choose where to cut out-of-fold logits.

    Parameters
    ----------
    logit : ndarray of shape (K,), float64
        Out-of-fold, not calibrated: a calibration that differs between folds would shuffle
        segments of nearly equal probability.
    rule : str
        'max_f1': the largest F1 = 2 TP / (2 TP + FP + FN) of objects, ties to the lower
        threshold. 'max_missed': the highest threshold at which at most the share `bound` of the
        objects that had a segment loses all of them. 'max_false': the lowest threshold at which
        at most `bound` false segments an image are accepted.
    frames : ndarray of shape (F,), bool, optional
        The images to choose on; default all.
    published : PublishedSegments, optional
        What is published of the segments: then its parts are counted, which are accepted with
        the segment that they come from; default the segments themselves.

    Returns
    -------
    OperatingPoint
        The cut lies half-way between the logits it separates, so that rounding in the node
        cannot move a segment across it.

    Raises
    ------
    ValueError
        Unknown rule.

    """
    if rule not in RULES:
        raise ValueError(
            f'rule must be one of {", ".join(RULES)}, got {rule!r}. See fit-meta --help.'
        )
    used = np.ones(len(segments.frame_name), dtype=bool) if frames is None else frames
    rows = used[segments.segment_frame]
    counted, sure = segments, logit
    if published is not None:
        counted, sure = published.segments, logit[published.parent]
    best_hit = np.full(len(segments.object_frame), -np.inf)
    np.maximum.at(best_hit, counted.overlap_object, sure[counted.overlap_segment])
    best_hit = best_hit[used[segments.object_frame]]
    candidates = np.unique(logit[rows])
    if not len(candidates):
        return OperatingPoint(0.0, rule, 0, len(best_hit), float('nan'))
    false = np.sort(sure[used[counted.segment_frame] & ~counted.is_true_ood])
    false_positives = len(false) - np.searchsorted(false, candidates, side='left')
    missed = np.searchsorted(np.sort(best_hit), candidates, side='left')
    found = len(best_hit) - missed
    with np.errstate(invalid='ignore'):
        f1 = 2 * found / (2 * found + false_positives + missed)
    described = rule if rule == 'max_f1' else f'{rule} {bound:g}'
    if rule == 'max_f1':
        if not found.any():  # nothing to gain: accept none
            return OperatingPoint(float('inf'), described, 0, len(best_hit), 0.0)
        chosen = int(np.argmax(np.nan_to_num(f1, nan=-1.0)))
    elif rule == 'max_false':
        allowed = false_positives <= bound * np.count_nonzero(used)
        if not allowed.any():  # even the most certain segments are false: accept none
            return OperatingPoint(float('inf'), described, 0, len(best_hit), 0.0)
        chosen = int(np.argmax(allowed))
    else:
        never = np.count_nonzero(np.isneginf(best_hit))
        allowed = missed - never <= bound * (len(best_hit) - never)
        chosen = int(np.flatnonzero(allowed)[-1])
    cut = (candidates[chosen] + candidates[chosen - 1]) / 2 if chosen else -np.inf
    return OperatingPoint(
        logit=float(cut),
        rule=described,
        false_positives=int(false_positives[chosen]),
        missed_objects=int(missed[chosen]),
        f1=float(f1[chosen]),
    )
