"""Segments judged at a low threshold -> those that are published: cores of the accepted ones."""

from __future__ import annotations

from meta_ood_ros.core.kernels.jit import array, kernel
from meta_ood_ros.core.kernels.raster import find_label, find_label_end
from meta_ood_ros.core.meta_classifier import MetaClassifier
from meta_ood_ros.core.segment_metrics import SegmentMetrics
from meta_ood_ros.core.segment_tree import split_segments
from meta_ood_ros.core.segments import Segments
from numba import types
import numpy as np
from numpy.typing import NDArray

#: A core has at least this share of the area of the largest core of its segment.
CORE_SHARE = 0.2


def judge_segments(
    classifier: MetaClassifier | None, metrics: SegmentMetrics, meta_threshold: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return ood_probability and who is accepted, (K,) each; without classifier NaN and all."""
    count = len(metrics.values)
    if classifier is None:
        return np.full(count, np.nan, dtype=np.float32), np.ones(count, dtype=bool)
    ood_probability = classifier.predict(metrics)
    return ood_probability, ood_probability >= np.float32(meta_threshold)


def publish_cores(
    judged: Segments,
    accepted: NDArray[np.bool_],
    score: NDArray[np.float32],
    core_threshold: float,
    *,
    min_size_px: int = 0,
) -> tuple[Segments, NDArray[np.int64]]:
    """
    Return the segments that are published, and the judged one that each comes from.

    Parameters
    ----------
    judged : Segments
        K segments of the entropy threshold.
    accepted : ndarray of shape (K,), bool
        Which of them the meta classifier accepted.
    score : ndarray of shape (H, W), float32
        What was thresholded.
    core_threshold : float
        Above the entropy threshold.
    min_size_px : int
        A smaller part [px] is no core.

    Returns
    -------
    segments : Segments
        Of an accepted segment its cores: the components of score >= core_threshold inside it
        with at least `CORE_SHARE` of the largest one's area. The segment itself where there is
        none, and where it was rejected. Numbered as `find_segments` does.
    row : ndarray of shape (N,), int64
        Row of the judged segment that each of them is, or is a core of.

    """
    level = split_segments(judged, score, core_threshold, chosen=accepted, min_size_px=min_size_px)
    largest = np.zeros(judged.count + 1, np.int64)
    np.maximum.at(largest, level.parent, level.area_px)
    if not largest.any():
        return judged, np.arange(judged.count)
    is_core = np.zeros(level.segments.count + 1, np.uint8)
    is_core[1:] = level.area_px >= CORE_SHARE * largest[level.parent]
    row = np.empty(judged.count + level.segments.count, np.int64)
    labels = np.zeros_like(judged.labels)
    count = _replace(
        judged.labels, level.segments.labels, (largest > 0).astype(np.uint8), is_core, labels, row
    )
    return Segments(labels, int(count)), row[:count].copy()


@kernel(
    array(types.int32, 2), array(types.int32, 2), array(types.uint8, 1), array(types.uint8, 1),
    array(types.int32, 2, readonly=False), array(types.int64, 1, readonly=False),
    returns=types.intp,
)  # fmt: skip
def _replace(judged, cores, has_core, is_core, labels, row):  # type: ignore[no-untyped-def]
    """Write labels (0 before) and rows of the published segments and return how many they are."""
    height, width = judged.shape
    number = np.zeros(has_core.size, np.int32)
    core_number = np.zeros(is_core.size, np.int32)
    count = 0
    for y in range(height):
        ids, core_ids, out = judged[y], cores[y], labels[y]
        x = find_label(ids, 0)
        while x < width:
            end = find_label_end(ids, x)
            whole = ids[x]
            if has_core[whole]:
                inside = core_ids[x:end]
                begin = find_label(inside, 0)
                while begin < inside.size:
                    stop = find_label_end(inside, begin)
                    core = inside[begin]
                    if is_core[core]:
                        if core_number[core] == 0:
                            row[count] = whole - 1
                            count += 1
                            core_number[core] = count
                        out[x + begin : x + stop] = core_number[core]
                    begin = find_label(inside, stop)
            else:
                if number[whole] == 0:
                    row[count] = whole - 1
                    count += 1
                    number[whole] = count
                out[x:end] = number[whole]
            x = find_label(ids, end)
    return count
