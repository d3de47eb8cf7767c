"""
A mask of predicted pixels + the true objects -> sIoU, PPV and F1 of SegmentMeIfYouCan.

Chan et al. 2021 (NeurIPS Datasets and Benchmarks), section 3.3; what the paper leaves open is as
in its public evaluation: void is taken from the prediction before it is cut into components, then
small predicted components are dropped, and small true ones become void with what lies on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

# F1 averaged over sIoU thresholds .25, .30, ..., .75
SIOU_THRESHOLDS = np.arange(25, 76, 5) / 100.0
FOUND_SIOU = float(SIOU_THRESHOLDS[0])
"""An object counts as found from this sIoU on, the lowest of SegmentMeIfYouCan."""


@dataclass(frozen=True)
class SizeRule:
    """
    Components that do not count, by their pixels in the image.

    Attributes
    ----------
    least_segment_px : int
        Smaller predicted components are dropped.
    least_object_px : int
        Smaller true components become void.

    """

    least_segment_px: int = 0
    least_object_px: int = 0


SIZE_RULES = {
    'anomaly_track': SizeRule(500, 100),
    'obstacle_track': SizeRule(50, 10),
    'all': SizeRule(),
}
"""The rules of both tracks of the benchmark, and none."""


@dataclass(frozen=True)
class ComponentScores:
    """Component-level scores of SegmentMeIfYouCan."""

    siou: float
    ppv: float
    f1: float


def measure_components(
    predicted: NDArray[np.bool_],
    is_ood: NDArray[np.bool_],
    is_valid: NDArray[np.bool_],
    rule: SizeRule,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """
    Compare the 8-connected components of a prediction with those of the truth.

    Parameters
    ----------
    predicted, is_ood, is_valid : ndarray of shape (H, W), bool
        Is_valid is the region of interest; OoD pixels lie within.
    rule : SizeRule
        Which components count.

    Returns
    -------
    siou : ndarray of shape (M,), float64
        Of each true object.
    ppv : ndarray of shape (K,), float64
        Of each predicted component.

    """
    count, objects = _label(is_ood & is_valid)
    object_px = np.bincount(objects.ravel(), minlength=count + 1)
    segments_count, segments = _label(predicted & is_valid)
    segment_px = np.bincount(segments.ravel(), minlength=segments_count + 1)
    segment_counts = segment_px >= rule.least_segment_px
    object_counts = object_px >= rule.least_object_px
    segment_counts[0] = object_counts[0] = False
    # pairs that share pixels, (segment, object), with how many
    inside = segments.ravel() > 0
    key = segments.ravel()[inside].astype(np.int64) * (count + 1) + objects.ravel()[inside]
    pairs, shared = np.unique(key, return_counts=True)
    segment, of_object = pairs // (count + 1), pairs % (count + 1)
    kept = segment_counts[segment] & (object_counts[of_object] | (of_object == 0))
    segment, of_object, shared = segment[kept], of_object[kept], shared[kept]
    # what a segment covers without small objects, and of that what lies on objects
    covered = np.bincount(segment, weights=shared, minlength=segments_count + 1)
    on_object = of_object > 0
    segment, of_object, shared = segment[on_object], of_object[on_object], shared[on_object]
    on_any = np.bincount(segment, weights=shared, minlength=segments_count + 1)
    hit = np.bincount(of_object, weights=shared, minlength=count + 1)
    union = np.bincount(of_object, weights=covered[segment], minlength=count + 1)
    # pixels of these segments on other objects are no error of this one
    excused = np.bincount(of_object, weights=on_any[segment] - shared, minlength=count + 1)
    siou = hit / np.maximum(union + object_px - hit - excused, 1)
    there = covered > 0
    return siou[object_counts], on_any[there] / covered[there]


def average_components(siou: NDArray[np.float64], ppv: NDArray[np.float64]) -> ComponentScores:
    """
    Return mean sIoU, PPV and F1 of all objects and predicted components of a data set.

    Returns
    -------
    ComponentScores
        NaN where there is nothing to average.

    """
    scores = []
    for threshold in SIOU_THRESHOLDS:
        true = np.count_nonzero(siou >= threshold)
        wrong = len(siou) - true + np.count_nonzero(ppv < threshold)
        scores.append(2 * true / (2 * true + wrong) if true + wrong else float('nan'))
    return ComponentScores(
        siou=float(siou.mean()) if len(siou) else float('nan'),
        ppv=float(ppv.mean()) if len(ppv) else float('nan'),
        f1=float(np.mean(scores)),
    )


@dataclass(eq=False)
class ComponentCounts:
    """Objects and predicted components of the frames seen so far."""

    siou: list[NDArray[np.float64]] = field(default_factory=list)
    ppv: list[NDArray[np.float64]] = field(default_factory=list)

    def update(
        self,
        predicted: NDArray[np.bool_],
        is_ood: NDArray[np.bool_],
        is_valid: NDArray[np.bool_],
        rule: SizeRule,
    ) -> None:
        """Measure one frame, see `measure_components`."""
        siou, ppv = measure_components(predicted, is_ood, is_valid, rule)
        self.siou.append(siou)
        self.ppv.append(ppv)

    def scores(self) -> ComponentScores:
        """Return the scores over all frames."""
        return average_components(*(_join(one) for one in (self.siou, self.ppv)))

    @property
    def objects(self) -> int:
        """Return how many true objects count."""
        return sum(map(len, self.siou))

    @property
    def segments(self) -> int:
        """Return how many predicted components count."""
        return sum(map(len, self.ppv))

    def to_arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return the values for a file or another process."""
        return {'siou': _join(self.siou), 'ppv': _join(self.ppv)}

    def add_arrays(self, arrays: Mapping[str, NDArray[np.float64]]) -> None:
        """Add what `to_arrays` returned."""
        self.siou.append(arrays['siou'])
        self.ppv.append(arrays['ppv'])


def _join(arrays: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate(arrays) if arrays else np.zeros(0)


def _label(mask: NDArray[np.bool_]) -> tuple[int, NDArray[np.int32]]:
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return count - 1, np.asarray(labels, np.int32)
