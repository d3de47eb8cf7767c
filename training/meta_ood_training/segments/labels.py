"""Segments of one image + its target -> which are true, and what they cover."""

from __future__ import annotations

from dataclasses import dataclass

from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD
import numpy as np


@dataclass(frozen=True, eq=False)
class SegmentLabels:
    """
    What the target says about K segments and M objects.

    Parameters
    ----------
    size_px, void_px, ood_px, road_px, in_distribution_px : ndarray of shape (K,), int64
        Pixels of each segment by what the target holds there.
    left_out : ndarray of shape (K,), bool
        More than half void: nobody knows whether it is true.
    object_size_px : ndarray of shape (M,), int64
    overlap_segment, overlap_object : ndarray of shape (P,), int32
        1-based ids of pairs that share pixels.
    overlap_px : ndarray of shape (P,), int64

    """

    size_px: np.ndarray
    void_px: np.ndarray
    ood_px: np.ndarray
    road_px: np.ndarray
    in_distribution_px: np.ndarray
    left_out: np.ndarray
    object_size_px: np.ndarray
    overlap_segment: np.ndarray
    overlap_object: np.ndarray
    overlap_px: np.ndarray

    @property
    def is_true_ood(self) -> np.ndarray:
        """Return which segments share at least one pixel with an OoD object, (K,) bool."""
        return self.ood_px > 0


def label_segments(
    labels: np.ndarray,
    count: int,
    target: np.ndarray,
    objects: np.ndarray,
    *,
    num_classes: int,
    road: int | None,
) -> SegmentLabels:
    """
    Compare segments with the ground truth of their image.

    Parameters
    ----------
    labels : ndarray of shape (H, W), int
        0, or the segment 1..count.
    target : ndarray of shape (H, W), uint8
        Class id, IN_DISTRIBUTION = 253, OOD = 254 or IGNORED = 255.
    objects : ndarray of shape (H, W), int
        0, or the object 1..M; objects lie where the target is OOD.

    """
    flat = labels.ravel()
    inside = np.flatnonzero(flat)
    segment = flat[inside]
    value = target.ravel()[inside]

    def count_where(mask: np.ndarray) -> np.ndarray:
        return np.bincount(segment[mask], minlength=count + 1)[1:].astype(np.int64)

    size = np.bincount(segment, minlength=count + 1)[1:].astype(np.int64)
    void = count_where(value == IGNORED)
    known = (value < num_classes) | (value == IN_DISTRIBUTION)
    on_object = objects.ravel()[inside]
    objects_there = int(objects.max(initial=0))
    key = segment.astype(np.int64) * (objects_there + 1) + on_object
    pairs, overlap = np.unique(key[on_object > 0], return_counts=True)
    return SegmentLabels(
        size_px=size,
        void_px=void,
        ood_px=count_where(value == OOD),
        road_px=count_where(value == road) if road is not None else np.zeros_like(size),
        in_distribution_px=count_where(known),
        left_out=2 * void > size,
        object_size_px=np.bincount(objects.ravel(), minlength=1)[1:].astype(np.int64),
        overlap_segment=(pairs // (objects_there + 1)).astype(np.int32),
        overlap_object=(pairs % (objects_there + 1)).astype(np.int32),
        overlap_px=overlap.astype(np.int64),
    )
