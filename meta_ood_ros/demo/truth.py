"""Published segments against the truth of a rendered scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import math

import numpy as np

#: An object is found where its adjusted IoU reaches this.
FOUND_SIOU = 0.25
#: Objects of fewer pixels are reported apart.
LARGE_PX = 400
#: A segment has the place of the object that it covers with at least this IoU.
LEAST_IOU = 0.25


@dataclass(frozen=True)
class ObjectTruth:
    """One unknown object."""

    area_px: int
    siou: float

    @property
    def is_found(self) -> bool:
        """Return whether an accepted segment covers it well enough."""
        return self.siou >= FOUND_SIOU

    @property
    def is_large(self) -> bool:
        """Return whether it counts for the target."""
        return self.area_px >= LARGE_PX


@dataclass(frozen=True)
class PlaceTruth:
    """Where an accepted segment places the object that it covers [m], in the optical frame."""

    true: tuple[float, float, float]
    placed: tuple[float, float, float] | None

    @property
    def error(self) -> float:
        """Return how far off it is; infinite without place."""
        return math.inf if self.placed is None else math.dist(self.true, self.placed)

    @property
    def share(self) -> float:
        """Return the error as a share of the distance."""
        return self.error / math.hypot(*self.true)


@dataclass(frozen=True)
class FrameTruth:
    """One frame against its truth."""

    objects: tuple[ObjectTruth, ...]
    false_segments: int
    #: Of the objects that an accepted segment covers; none where nothing is placed.
    places: tuple[PlaceTruth, ...] = ()


def compare_with_truth(
    segment_ids: np.ndarray, accepted_ids: np.ndarray, ood_ids: np.ndarray, unknown: np.ndarray
) -> FrameTruth:
    """
    Return which objects were found and how many segments are false.

    Parameters
    ----------
    segment_ids : ndarray of shape (H, W), uint16
        As in ~/segment_ids, 0 none.
    accepted_ids : ndarray of shape (N,)
        Ids of the accepted segments.
    ood_ids : ndarray of shape (H, W), uint16
        0, or the id of the object.
    unknown : ndarray of shape (H, W), bool
        Pixels that are no class; contains all objects.

    Notes
    -----
    sIoU as SegmentMeIfYouCan defines it: for object k, let P be the union of the accepted segments
    that meet k; then sIoU = |k & P| / |k | (P - other objects)|, so that one segment over two
    objects is not held against either.

    """
    segments = np.where(np.isin(segment_ids, accepted_ids), segment_ids, 0)
    objects = []
    for ood_id in np.unique(ood_ids[ood_ids > 0]):
        mask = ood_ids == ood_id
        touching = np.unique(segments[mask])
        union = np.isin(segments, touching[touching > 0])
        others = (ood_ids > 0) & ~mask
        siou = np.count_nonzero(mask & union) / np.count_nonzero(mask | (union & ~others))
        objects.append(ObjectTruth(int(np.count_nonzero(mask)), float(siou)))
    true_ids = np.unique(segments[unknown])
    false = np.setdiff1d(np.unique(segments[segments > 0]), true_ids)
    return FrameTruth(tuple(objects), len(false))


def compare_places(
    segment_ids: np.ndarray,
    positions: Mapping[int, tuple[float, float, float] | None],
    ood_ids: np.ndarray,
    ood_positions: np.ndarray,
) -> tuple[PlaceTruth, ...]:
    """
    Return how well each accepted segment places the object that it covers, if it covers one.

    Parameters
    ----------
    segment_ids : ndarray of shape (H, W), uint16
        As in ~/segment_ids, 0 none.
    positions : mapping
        Id of each accepted segment -> its position, None without.
    ood_ids : ndarray of shape (H, W), uint16
        0, or the id of the object.
    ood_positions : ndarray of shape (number of objects, 3)
        Of the object with id k + 1.

    """
    found = []
    for number, position in positions.items():
        mask = segment_ids == number
        votes = np.bincount(ood_ids[mask], minlength=1)
        votes[0] = 0
        best = int(votes.argmax())
        union = np.count_nonzero(mask | (ood_ids == best))
        if best > 0 and votes[best] >= LEAST_IOU * union:
            found.append(PlaceTruth(tuple(ood_positions[best - 1].tolist()), position))
    return tuple(found)
