"""Entropy + ascending thresholds -> component tree: the segments of each, and what holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meta_ood_ros.core.kernels.jit import array, kernel
from meta_ood_ros.core.kernels.raster import find_label, find_label_end
from meta_ood_ros.core.segments import find_segments, Segments
from numba import types
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class TreeLevel:
    """
    The segments of one threshold, K of them.

    Attributes
    ----------
    threshold : float
        Their pixels have a score of at least this.
    segments : Segments
        As `find_segments` numbers them.
    parent : ndarray of shape (K,), int32
        Id of the segment one level lower that holds each; 0 at the lowest level.
    area_px : ndarray of shape (K,), int64
        Number of pixels.

    """

    threshold: float
    segments: Segments
    parent: NDArray[np.int32]
    area_px: NDArray[np.int64]


def grow_segment_tree(
    score: NDArray[np.float32],
    thresholds: Sequence[float],
    *,
    min_size_px: int = 0,
    ignored: NDArray[np.bool_] | None = None,
) -> tuple[TreeLevel, ...]:
    """
    Return the segments of several thresholds with their nesting.

    Parameters
    ----------
    score : ndarray of shape (H, W), float32
        What is thresholded, normalized entropy for one.
    thresholds : sequence of float
        Ascending.
    min_size_px : int
        Smaller segments [px] are dropped at every level.
    ignored : ndarray of shape (H, W), bool, optional
        True where nothing is ever OoD.

    Returns
    -------
    tuple of TreeLevel
        One a threshold. A segment at a higher threshold lies inside exactly one at each lower
        one, so every level but the lowest is looked for inside the one before.

    """
    if not len(thresholds) or (np.diff(thresholds) <= 0).any():
        raise ValueError(
            f'thresholds must be ascending, at least one, got {list(thresholds)}. Sort them and '
            'name each once.'
        )
    mask = score >= np.float32(thresholds[0])
    if ignored is not None:
        mask &= ~ignored
    segments = find_segments(mask, min_size_px=min_size_px)
    nowhere = Segments(np.zeros_like(segments.labels), 0)
    levels = [_to_level(thresholds[0], segments, nowhere)]
    for threshold in thresholds[1:]:
        levels.append(
            split_segments(levels[-1].segments, score, threshold, min_size_px=min_size_px)
        )
    return tuple(levels)


def split_segments(
    below: Segments,
    score: NDArray[np.float32],
    threshold: float,
    *,
    chosen: NDArray[np.bool_] | None = None,
    min_size_px: int = 0,
) -> TreeLevel:
    """
    Return what a higher threshold leaves of segments: the level above theirs.

    Parameters
    ----------
    below : Segments
        K segments of a lower threshold.
    score : ndarray of shape (H, W), float32
        What they were thresholded from.
    threshold : float
        The higher threshold.
    chosen : ndarray of shape (K,), bool, optional
        Which of them are looked into; by default all.
    min_size_px : int
        Smaller parts [px] are dropped.

    """
    if score.shape != below.labels.shape or score.dtype != np.float32:
        raise ValueError(
            f'score must be float32 of shape {below.labels.shape}, got {score.dtype} of shape '
            f'{score.shape}. Pass the map that the segments come from.'
        )
    looked_into = np.zeros(below.count + 1, np.uint8)
    looked_into[1:] = 1 if chosen is None else chosen
    mask = np.zeros(below.labels.shape, np.uint8)
    _mark(below.labels, np.ascontiguousarray(score), np.float32(threshold), looked_into, mask)
    return _to_level(threshold, find_segments(mask.view(bool), min_size_px=min_size_px), below)


def _to_level(threshold: float, segments: Segments, below: Segments) -> TreeLevel:
    parent = np.zeros(segments.count, np.int32)
    area = np.zeros(segments.count, np.int64)
    _trace(segments.labels, below.labels, parent, area)
    return TreeLevel(float(threshold), segments, parent, area)


@kernel(
    array(types.int32, 2), array(types.float32, 2), types.float32, array(types.uint8, 1),
    array(types.uint8, 2, readonly=False),
)  # fmt: skip
def _mark(labels, score, threshold, looked_into, mask):  # type: ignore[no-untyped-def]
    """Set the mask, 0 before, where a segment that is looked into reaches the threshold."""
    height, width = labels.shape
    for y in range(height):
        ids, values, marks = labels[y], score[y], mask[y]
        x = find_label(ids, 0)
        while x < width:
            end = find_label_end(ids, x)
            if looked_into[ids[x]]:
                inside, marked = values[x:end], marks[x:end]
                for q in range(end - x):  # from 0 on: the compiler knows no index to be negative
                    marked[q] = inside[q] >= threshold
            x = find_label(ids, end)


@kernel(
    array(types.int32, 2), array(types.int32, 2),
    array(types.int32, 1, readonly=False), array(types.int64, 1, readonly=False),
)  # fmt: skip
def _trace(labels, below, parent, area):  # type: ignore[no-untyped-def]
    """Fill in which segment below holds each segment, and how many pixels it has."""
    height, width = labels.shape
    for y in range(height):
        ids = labels[y]
        x = find_label(ids, 0)
        while x < width:
            end = find_label_end(ids, x)
            parent[ids[x] - 1] = below[y, x]
            area[ids[x] - 1] += end - x
            x = find_label(ids, end)
