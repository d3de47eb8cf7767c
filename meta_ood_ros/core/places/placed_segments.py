"""What is known of where segments are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray


class Verdict(Enum):
    """
    Whether a segment has a place, or why it has none.

    Attributes
    ----------
    PLACED
        It has a position.
    NO_DEPTH
        Fewer than three of its pixels have a depth.
    MIXED_DEPTH
        Its pixels lie on several surfaces, of which the nearest holds less than a fifth.
    ABOVE_HORIZON
        Its lower border does not meet the ground in front of the camera.
    OUT_OF_RANGE
        It meets the ground beyond max_range.

    """

    PLACED = 'placed'
    NO_DEPTH = 'no depth'
    MIXED_DEPTH = 'mixed depth'
    ABOVE_HORIZON = 'above the horizon'
    OUT_OF_RANGE = 'out of range'


@dataclass(frozen=True, eq=False)
class PlacedSegments:
    """
    Where segments are, in the optical frame (x right, y down, z forward); NaN = not known.

    Attributes
    ----------
    source : str
        'depth' or 'ground_plane'.
    ids : ndarray of shape (N,), int32
        The segments' ids.
    positions : ndarray of shape (N, 3), float64
        From depth the middle of the visible surface, from the ground plane the middle of the
        foot [m].
    standard_deviations : ndarray of shape (N, 3), float64
        Of each coordinate of the position [m].
    extents : ndarray of shape (N, 3), float64
        Width, height and depth of the visible surface [m]; from the ground plane the depth is
        not known.
    depth_shares : ndarray of shape (N,), float64
        Share of the pixels looked at that have a depth, 0..1; 0 from the ground plane.
    distances : ndarray of shape (N,), float64
        From the optical centre to the position [m].
    verdicts : tuple of Verdict
        Why a segment has no position.

    """

    source: str
    ids: NDArray[np.int32]
    positions: NDArray[np.float64]
    standard_deviations: NDArray[np.float64]
    extents: NDArray[np.float64]
    depth_shares: NDArray[np.float64]
    distances: NDArray[np.float64]
    verdicts: tuple[Verdict, ...]


def checked_segments(
    labels: NDArray[np.int32],
    ids: NDArray[np.int32],
    boxes: NDArray[np.int32],
    camera_size: tuple[int, int],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Return labels, ids and boxes as the kernels want them; refuse what they would misread."""
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype != np.int32 or labels.shape != tuple(camera_size):
        raise ValueError(
            f'labels must be int32 of the size of the camera model {tuple(camera_size)}, got '
            f'{labels.dtype} of shape {labels.shape}. Pass camera.resized(labels.shape).'
        )
    ids = np.ascontiguousarray(ids, np.int32)
    boxes = np.ascontiguousarray(boxes, np.int32).reshape(-1, 4)
    if ids.ndim != 1 or len(boxes) != len(ids):
        raise ValueError(
            f'there must be one box for each id, got {len(boxes)} boxes for ids of shape '
            f'{ids.shape}. Select ids and boxes alike.'
        )
    ends = boxes[:, :2] + boxes[:, 2:]
    inside = (boxes[:, :2] >= 0) & (boxes[:, 2:] >= 1) & (ends <= labels.shape[::-1])
    if not inside.all() or (ids < 1).any() or len(set(ids.tolist())) != len(ids):
        raise ValueError(
            f'ids must be at least 1 and differ, and boxes lie inside {labels.shape}, got ids '
            f'{ids.tolist()} and boxes {boxes.tolist()}. Pass those of summarize_segments.'
        )
    return np.ascontiguousarray(labels), ids, boxes
