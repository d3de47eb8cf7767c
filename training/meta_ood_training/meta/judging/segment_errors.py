"""Segments and which are accepted -> the errors of tables 2 and 3 of Chan et al. (2021)."""

from __future__ import annotations

from dataclasses import dataclass

from meta_ood_training.scores.components import average_components, ComponentScores
from meta_ood_training.segments.segment_set import SegmentSet
import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score


@dataclass(frozen=True)
class SegmentErrors:
    """
    Errors over a whole data set.

    Parameters
    ----------
    f1 : float
        2 TP / (2 TP + FP + FN) with TP = N - FN, in [0, 1]; NaN without objects and segments.
    true_removed : int
        True segments that were rejected: what the published script prints as its remaining
        false positives.

    """

    false_positives: int
    missed_objects: int
    objects: int
    f1: float
    road_miss_rate: float
    in_distribution_miss_rate: float
    true_removed: int

    @property
    def errors(self) -> int:
        """Return FP + FN."""
        return self.false_positives + self.missed_objects


def count_errors(segments: SegmentSet, accepted: np.ndarray | None = None) -> SegmentErrors:
    """
    Count the errors that remain when only accepted segments count as OoD.

    Parameters
    ----------
    accepted : ndarray of shape (K,), bool, optional
        Default: all, i.e. no meta classifier.

    """
    kept = np.ones(len(segments), dtype=bool) if accepted is None else accepted
    objects = len(segments.object_frame)
    missed = objects - int(found_objects(segments, kept).sum())
    false = int(np.count_nonzero(kept & ~segments.is_true_ood))
    denominator = 2 * (objects - missed) + false + missed
    return SegmentErrors(
        false_positives=false,
        missed_objects=missed,
        objects=objects,
        f1=2 * (objects - missed) / denominator if denominator else float('nan'),
        road_miss_rate=_share(segments.road_px[kept], segments.frame_road_px),
        in_distribution_miss_rate=_share(
            segments.in_distribution_px[kept], segments.frame_in_distribution_px
        ),
        true_removed=int(np.count_nonzero(~kept & segments.is_true_ood)),
    )


def found_objects(segments: SegmentSet, accepted: np.ndarray) -> np.ndarray:
    """Return which objects share a pixel with an accepted segment, (M,) bool."""
    found = np.zeros(len(segments.object_frame), dtype=bool)
    found[segments.overlap_object[accepted[segments.overlap_segment]]] = True
    return found


@dataclass(frozen=True)
class RankingScores:
    """
    How well a score separates true from false segments, both ways round.

    Parameters
    ----------
    auprc_false, base_rate_false : float
        Positive = false segment, as in the papers' tables, and the AUPRC of a random score.

    """

    auroc: float
    auprc_false: float
    base_rate_false: float
    auprc_true: float
    base_rate_true: float


def rank_segments(score: np.ndarray, is_true_ood: np.ndarray) -> RankingScores:
    """
    Score a ranking of segments.

    Parameters
    ----------
    score : ndarray of shape (K,), float64
        Larger = rather true OoD.
    is_true_ood : ndarray of shape (K,), bool
        True segments are the positive class.

    Returns
    -------
    RankingScores
        NaN where a class is missing, or where a score is not finite; base rates are known.

    """
    share = float(is_true_ood.mean()) if len(is_true_ood) else float('nan')
    if not 0.0 < share < 1.0 or not np.isfinite(score).all():
        return RankingScores(float('nan'), float('nan'), 1.0 - share, float('nan'), share)
    return RankingScores(
        auroc=float(roc_auc_score(is_true_ood, score)),
        auprc_false=float(average_precision_score(~is_true_ood, -score)),
        base_rate_false=1.0 - share,
        auprc_true=float(average_precision_score(is_true_ood, score)),
        base_rate_true=share,
    )


def score_components(segments: SegmentSet, accepted: np.ndarray | None = None) -> ComponentScores:
    """
    Return mean sIoU, PPV and F1 of the accepted segments.

    Parameters
    ----------
    accepted : ndarray of shape (K,), bool, optional
        Default: all.

    Returns
    -------
    ComponentScores
        Void pixels of a segment do not count. NaN where there is nothing to average.

    """
    kept = np.ones(len(segments), dtype=bool) if accepted is None else accepted
    siou = measure_siou(segments, kept)
    covered = np.zeros(len(segments))
    np.add.at(covered, segments.overlap_segment, segments.overlap_px)
    ppv = (covered / np.maximum(segments.valid_px, 1))[kept & (segments.valid_px > 0)]
    return average_components(siou, ppv)


def measure_siou(segments: SegmentSet, accepted: np.ndarray) -> np.ndarray:
    """Return the sIoU of each object with the accepted segments that touch it, (M,) in [0, 1]."""
    pairs = accepted[segments.overlap_segment]
    segment, of_object = segments.overlap_segment[pairs], segments.overlap_object[pairs]
    pixels = segments.overlap_px[pairs]
    objects = len(segments.object_frame)
    on_any_object = np.zeros(len(segments), dtype=np.int64)
    np.add.at(on_any_object, segment, pixels)
    hit = np.bincount(of_object, weights=pixels, minlength=objects)
    prediction = np.bincount(of_object, weights=segments.valid_px[segment], minlength=objects)
    # pixels of these segments on OTHER objects are no error of this one
    excused = np.bincount(of_object, weights=on_any_object[segment] - pixels, minlength=objects)
    return hit / np.maximum(prediction + segments.object_size_px - hit - excused, 1)


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    total = int(whole.sum())
    return float(part.sum()) / total if total else float('nan')
