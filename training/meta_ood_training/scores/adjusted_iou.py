"""Segments + ground truth mask -> adjusted IoU of each segment, as published."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_EIGHT = np.ones((3, 3), bool)


def measure_adjusted_iou(
    labels: NDArray[np.integer], is_ood: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """
    Return the adjusted intersection over union of each segment with the ground truth.

    Parameters
    ----------
    labels : ndarray of shape (H, W), int
        Segments 1..K, 0 = none.
    is_ood : ndarray of shape (H, W), bool
        Ground truth.

    Returns
    -------
    ndarray of shape (K,), float64
        |k and G| / (|k| + |R|), where R is the part of the ground truth G outside all segments
        that can be reached from a neighbour of k in steps to 8 neighbours within it. 0 exactly
        where k and G share no pixel; a segment is a true OoD segment where it is above 0.

    Notes
    -----
    What other segments cover does not count against k, so an object seen in two parts is not
    punished for being seen in two parts.

    """
    count = int(labels.max(initial=0))
    size = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    overlap = np.bincount(labels[is_ood], minlength=count + 1)[1:]
    rest, rest_count = ndimage.label(is_ood & (labels == 0), _EIGHT)
    rest_size = np.bincount(rest.ravel(), minlength=rest_count + 1)
    touching = np.unique(np.concatenate(_neighbouring(labels, rest)))
    segment, part = touching // (rest_count + 1), touching % (rest_count + 1)
    reachable = np.bincount(segment, rest_size[part], minlength=count + 1)[1:]
    return overlap / np.maximum(size + reachable, 1)


def _neighbouring(
    labels: NDArray[np.integer], rest: NDArray[np.integer]
) -> list[NDArray[np.int64]]:
    """Return segment x (parts + 1) + part of all 8-neighbours, one array a direction."""
    base = int(rest.max(initial=0)) + 1
    height, width = labels.shape
    keys = []
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            here = (
                slice(max(-down, 0), height - max(down, 0)),
                slice(max(-right, 0), width - max(right, 0)),
            )
            there = (
                slice(max(down, 0), height - max(-down, 0)),
                slice(max(right, 0), width - max(-right, 0)),
            )
            pair = (labels[here] > 0) & (rest[there] > 0)
            keys.append(labels[here][pair].astype(np.int64) * base + rest[there][pair])
    return keys
