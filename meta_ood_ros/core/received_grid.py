"""Work grid (h, w) -> the pixels of the received image (H, W)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
from meta_ood_ros.core.places.depth_map import nearest_pixels
import numpy as np

Size = tuple[int, int]


@lru_cache(maxsize=16)
def nearest_index(received: int, work: int) -> np.ndarray:
    """Return `nearest_pixels` of one side of the image in the work grid, made once."""
    index = nearest_pixels(received, work)
    index.flags.writeable = False  # it is shared by all callers
    return index


def to_received_labels(
    labels: np.ndarray, size: Size, *, out: np.ndarray | None = None
) -> np.ndarray:
    """
    Return a label image at the size of the received image, by nearest neighbour.

    Parameters
    ----------
    labels : ndarray of shape (h, w)
        Classes or segment ids.
    out : ndarray of shape (H, W), optional
        Filled and returned, when given; of the type of `labels`.

    Returns
    -------
    ndarray of shape (H, W)
        Of the type of `labels`; `labels` itself where the size is the same and `out` is None.

    """
    if labels.shape == tuple(size):
        if out is None:
            return labels
        np.copyto(out, labels)
        return out
    rows = nearest_index(size[0], labels.shape[0])
    columns = nearest_index(size[1], labels.shape[1])
    # Columns first: they are gathered on the smaller grid, the rows are then whole copies.
    # mode='clip' because 'raise' makes numpy write into a buffer of its own.
    wide = np.take(labels, columns, axis=1)
    return np.take(wide, rows, axis=0, out=out, mode='clip')


def to_received_values(
    values: np.ndarray, size: Size, *, out: np.ndarray | None = None
) -> np.ndarray:
    """
    Return an image of values at the size of the received image, bilinear.

    Parameters
    ----------
    values : ndarray of shape (h, w), float32
        Entropy or confidence.
    out : ndarray of shape (H, W), float32, optional
        Filled and returned, when given.

    Returns
    -------
    ndarray of shape (H, W), float32
        Within the range of `values`; `values` itself where the size is the same and `out` is None.

    """
    if values.shape == tuple(size):
        if out is None:
            return values
        np.copyto(out, values)
        return out
    return cv2.resize(values, (size[1], size[0]), dst=out, interpolation=cv2.INTER_LINEAR)


@dataclass(frozen=True)
class SegmentPlaces:
    """
    Where the K segments lie in the received image; index k is segment k + 1.

    Parameters
    ----------
    area : ndarray of shape (K,), int64
        Pixels; 0 where a segment is so thin that no pixel of a smaller image falls on it. The
        other fields mean nothing then.
    top, left, bottom, right : ndarray of shape (K,), int64
        First and last row and column, inclusive, in pixels.
    centroid_x, centroid_y : ndarray of shape (K,), float64
        Mean column and row, in pixels.

    """

    area: np.ndarray
    top: np.ndarray
    left: np.ndarray
    bottom: np.ndarray
    right: np.ndarray
    centroid_x: np.ndarray
    centroid_y: np.ndarray


def locate_segments(labels: np.ndarray, count: int, size: Size) -> SegmentPlaces:
    """
    Return place and area that the segments have in the image of `to_received_labels`.

    Parameters
    ----------
    labels : ndarray of shape (h, w), int32
        0 none, else 1..count.

    Notes
    -----
    Exact, but the image of size (H, W) is never made: nearest neighbours act on rows and columns
    apart, so a work pixel becomes a rectangle, and work is proportional to the OoD pixels.

    """
    y = _Span.of(size[0], labels.shape[0])
    x = _Span.of(size[1], labels.shape[1])
    pixels = np.flatnonzero(labels)
    ids = labels.reshape(-1)[pixels] - 1
    rows, columns = np.divmod(pixels, labels.shape[1])
    weights = y.count[rows] * x.count[columns]
    if not (y.count.all() and x.count.all()):  # the image is smaller than the work grid
        seen = weights > 0
        ids, rows, columns, weights = ids[seen], rows[seen], columns[seen], weights[seen]
    area = np.bincount(ids, weights, minlength=count)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(ids, weights * values, minlength=count) / np.maximum(area, 1)

    # The last assignment to an index stays, so ascending order leaves the largest. Pixels are in
    # order of rows already; columns are sorted (radix sort, for they fit 16 bits).
    by_column = np.argsort(columns.astype(np.uint16), kind='stable')

    def last(values: np.ndarray, order: np.ndarray) -> np.ndarray:
        found = np.zeros(count, np.int64)
        found[ids[order]] = values[order]
        return found

    by_row = np.arange(ids.size)
    return SegmentPlaces(
        area=area.astype(np.int64),
        top=last(y.first[rows], by_row[::-1]),
        left=last(x.first[columns], by_column[::-1]),
        bottom=last(y.last[rows], by_row),
        right=last(x.last[columns], by_column),
        centroid_x=mean((x.first + x.last)[columns] / 2),
        centroid_y=mean((y.first + y.last)[rows] / 2),
    )


@dataclass(frozen=True)
class _Span:
    """Which pixels of the image fall on each pixel of one side of the work grid."""

    first: np.ndarray
    last: np.ndarray
    count: np.ndarray

    @staticmethod
    @lru_cache(maxsize=16)
    def of(received: int, work: int) -> _Span:
        """Return them for one side; kept, for all frames of a camera have one size."""
        index = nearest_index(received, work)
        first = np.searchsorted(index, np.arange(work), side='left')
        end = np.searchsorted(index, np.arange(work), side='right')
        return _Span(first, end - 1, end - first)


def trace_contours(
    labels: np.ndarray, chosen: np.ndarray, size: Size, *, tolerance: float
) -> dict[int, np.ndarray]:
    """
    Return the outer border of the chosen segments in pixels of the received image.

    Parameters
    ----------
    labels : ndarray of shape (h, w), int32
        0 none, else segment ids; the segments are 8-connected components.
    chosen : ndarray of shape (K + 1,), bool
        Whether the segment of this id is wanted; index 0 is False.
    tolerance : float
        Largest distance in pixels between border and simplified contour; 0 leaves out only the
        points inside straight runs.

    Returns
    -------
    dict of id to ndarray of shape (P, 2), int32
        Columns x and y, clockwise as seen (y points down), not closed; holes are left out.

    Notes
    -----
    Where the image is the larger grid all borders are traced at once. In a smaller image two
    segments may touch and one may fall apart, so each is traced alone; of its parts that with the
    longest border counts.

    """
    if not chosen.any():
        return {}
    if size[0] < labels.shape[0] or size[1] < labels.shape[1]:
        return _trace_each(labels, chosen, size, tolerance)
    # Looking up each pixel takes ten times as long as comparing it.
    is_chosen = labels != 0 if chosen[1:].all() else chosen[labels]
    mask = to_received_labels(is_chosen.view(np.uint8), size)
    found, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    to_row = nearest_index(size[0], labels.shape[0])
    to_column = nearest_index(size[1], labels.shape[1])
    contours = {}
    for points, (_, _, _, parent) in zip(found, hierarchy[0], strict=True):
        if parent >= 0:  # the border of a hole
            continue
        x, y = points[0, 0]
        contours[int(labels[to_row[y], to_column[x]])] = _simplify(points, tolerance)
    return contours


def _trace_each(
    labels: np.ndarray, chosen: np.ndarray, size: Size, tolerance: float
) -> dict[int, np.ndarray]:
    received = to_received_labels(labels, size)
    places = locate_segments(labels, len(chosen) - 1, size)
    contours = {}
    for number in np.flatnonzero(chosen):
        k = number - 1
        if places.area[k] == 0:
            continue
        top, left = int(places.top[k]), int(places.left[k])
        box = received[top : places.bottom[k] + 1, left : places.right[k] + 1]
        found, _ = cv2.findContours(
            (box == number).view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE,
            offset=(left, top),
        )  # fmt: skip
        contours[int(number)] = _simplify(max(found, key=len), tolerance)
    return contours


def _simplify(points: np.ndarray, tolerance: float) -> np.ndarray:
    """Return fewer points, clockwise: OpenCV runs counter-clockwise."""
    return cv2.approxPolyDP(points, tolerance, True)[:, 0][::-1]
