"""Published segments of labelled images -> found objects, false segments, reliability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from meta_ood_training.meta.judging.group_intervals import (
    draw_groups,
    ErrorInterval,
    to_interval,
)
from meta_ood_training.meta.judging.segment_errors import measure_siou, score_components
from meta_ood_training.scores.components import ComponentScores, FOUND_SIOU
from meta_ood_training.scores.groups import join_groups
from meta_ood_training.segments.segment_set import SegmentSet
import numpy as np

SMALLEST_PX = 50
"""Objects of fewer work pixels may be missed: they count in their own size only."""

SIZES_PX = (1, SMALLEST_PX, 400, 4000)
"""Least work pixels of each size of objects."""

_BINS = 10


@dataclass(frozen=True, eq=False)
class PublishedDecisions:
    """
    What was published about the images of a data set, with their truth.

    Parameters
    ----------
    segments : SegmentSet
        Every published segment and every rejected one; without metrics.
    accepted : ndarray of shape (K,), bool
    ood_probability : ndarray of shape (K,), float32
    judged_at, published_at, meta_threshold : float
        Thresholds used; published_at equals judged_at where no cores were cut out.

    """

    segments: SegmentSet
    accepted: np.ndarray
    ood_probability: np.ndarray
    judged_at: float
    published_at: float
    meta_threshold: float

    def of_frames(self, keep: np.ndarray) -> PublishedDecisions:
        """Return what was published about some of the images, (F,) bool."""
        rows = keep[self.segments.segment_frame]
        return replace(
            self,
            segments=self.segments.of_frames(keep),
            accepted=self.accepted[rows],
            ood_probability=self.ood_probability[rows],
        )


@dataclass(frozen=True)
class SizeScores:
    """
    Objects of at least so many pixels and fewer than those of the next size.

    Parameters
    ----------
    found, touched : int
        Of sIoU >= FOUND_SIOU with the accepted segments, and of sIoU > 0.

    """

    least_px: int
    objects: int
    found: int
    touched: int


@dataclass(frozen=True, eq=False)
class Reliability:
    """
    Segments by ood_probability, in bins of equal width; NaN where a bin is empty.

    Parameters
    ----------
    ood_probability, true_share : ndarray of shape (B,), float64
        Means over the segments of the bin.
    segments : ndarray of shape (B,), int64

    """

    ood_probability: np.ndarray
    true_share: np.ndarray
    segments: np.ndarray

    @property
    def error(self) -> float:
        """Return the mean distance of both over the segments: the expected calibration error."""
        used = self.segments > 0
        if not used.any():
            return float('nan')
        distance = np.abs(self.ood_probability - self.true_share)[used]
        return float(np.average(distance, weights=self.segments[used]))


@dataclass(frozen=True, eq=False)
class DeployedScores:
    """
    What a robot gets from a decision.

    Parameters
    ----------
    accepted, false_segments, left_out : int
        Accepted published segments, those of them that share no pixel with an object, and
        segments that are more than half void, which count nowhere.
    found, touched, false_a_frame : ErrorInterval
        Shares of the objects of SMALLEST_PX and more, and false segments an image, with 95 %
        intervals over groups.
    components : ComponentScores
        Of the same objects.

    """

    judged_at: float
    published_at: float
    meta_threshold: float
    images: int
    groups: int
    accepted: int
    false_segments: int
    left_out: int
    objects: int
    found: ErrorInterval
    touched: ErrorInterval
    false_a_frame: ErrorInterval
    by_size: tuple[SizeScores, ...]
    components: ComponentScores
    reliability: Reliability


def score_decisions(
    decisions: PublishedDecisions, *, draws: int = 1000, seed: int = 0
) -> DeployedScores:
    """
    Score what was published.

    Parameters
    ----------
    draws : int
        Bootstrap samples of groups; 0 for no intervals.
    seed : int
        Of the draws.

    """
    segments, accepted = decisions.segments, decisions.accepted
    siou = measure_siou(segments, accepted)
    false = accepted & ~segments.is_true_ood
    large = segments.object_size_px >= SMALLEST_PX
    counted = segments.with_objects(large)
    group = join_groups(list(segments.frame_group))
    groups = len(set(group.tolist()))
    weights = draw_groups(groups, draws, seed)

    def rate(part: np.ndarray, whole: np.ndarray) -> ErrorInterval:
        return _rate(part, whole, lambda frames: np.bincount(group[frames], minlength=groups),
                     weights)  # fmt: skip

    frames = np.arange(len(segments.frame_name))
    object_frame = segments.object_frame
    return DeployedScores(
        judged_at=decisions.judged_at,
        published_at=decisions.published_at,
        meta_threshold=decisions.meta_threshold,
        images=len(frames),
        groups=groups,
        accepted=int(accepted.sum()),
        false_segments=int(false.sum()),
        left_out=segments.left_out,
        objects=int(large.sum()),
        found=rate(object_frame[large & (siou >= FOUND_SIOU)], object_frame[large]),
        touched=rate(object_frame[large & (siou > 0)], object_frame[large]),
        false_a_frame=rate(segments.segment_frame[false], frames),
        by_size=_by_size(segments.object_size_px, siou),
        components=score_components(counted, accepted),
        reliability=measure_reliability(decisions.ood_probability, segments.is_true_ood),
    )


def _rate(
    part: np.ndarray,
    whole: np.ndarray,
    count: Callable[[np.ndarray], np.ndarray],
    weights: np.ndarray,
) -> ErrorInterval:
    """Return how many of the first there are for each of the second, given by their frames."""
    value = len(part) / len(whole) if len(whole) else float('nan')
    below = weights @ count(whole)
    samples = (weights @ count(part))[below > 0] / below[below > 0]
    return to_interval(value, samples, weights.shape[1])


def _by_size(size_px: np.ndarray, siou: np.ndarray) -> tuple[SizeScores, ...]:
    limits = [*SIZES_PX, np.inf]
    rows = []
    for least, limit in pairwise(limits):
        inside = (size_px >= least) & (size_px < limit)
        rows.append(
            SizeScores(
                least_px=int(least),
                objects=int(inside.sum()),
                found=int((siou[inside] >= FOUND_SIOU).sum()),
                touched=int((siou[inside] > 0).sum()),
            )
        )
    return tuple(rows)


def measure_reliability(ood_probability: np.ndarray, is_true_ood: np.ndarray) -> Reliability:
    """Return how often segments of each ood_probability are true; those with NaN are left out."""
    known = np.isfinite(ood_probability)
    probability = ood_probability[known].astype(np.float64)
    place = np.minimum((probability * _BINS).astype(np.int64), _BINS - 1)
    count = np.bincount(place, minlength=_BINS)
    with np.errstate(invalid='ignore'):
        return Reliability(
            ood_probability=np.bincount(place, probability, _BINS) / count,
            true_share=np.bincount(place, is_true_ood[known], _BINS) / count,
            segments=count,
        )
