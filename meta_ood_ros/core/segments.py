"""Entropy -> OoD mask -> OoD segments: 8-connected components, numbered as they are read."""

from dataclasses import dataclass

from meta_ood_ros.core.jit import array, kernel
import numba
from numba import types
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Segments:
    """
    A partition of the OoD pixels into segments.

    Attributes
    ----------
    labels : ndarray of shape (H, W), int32
        0 where no segment is, else the segment's id, 1..count, in the raster order of the
        segments' first pixels.
    count : int
        Number of segments, K.

    """

    labels: NDArray[np.int32]
    count: int


def find_segments(ood_mask: NDArray[np.bool_], *, min_size_px: int = 0) -> Segments:
    """
    Return the 8-connected components of the OoD mask.

    Parameters
    ----------
    ood_mask : ndarray of shape (H, W), bool
        True where a pixel is OoD (entropy >= threshold).
    min_size_px : int
        Smaller segments [px] are dropped before numbering.

    Returns
    -------
    Segments
        Ids in the raster order of the segments' first pixels.

    Notes
    -----
    8-connected as in the published evaluation; 4 would split thin obstacles.

    """
    mask = np.asarray(ood_mask)
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(
            f'ood_mask must be a bool array of shape (H, W), got {mask.dtype} of shape '
            f'{mask.shape}. Threshold the score first: entropy >= entropy_threshold.'
        )
    if min_size_px < 0:
        raise ValueError(
            f'min_size_px must be at least 0, got {min_size_px}. 0 keeps every segment.'
        )
    labels = np.zeros(mask.shape, np.int32)
    if mask.size == 0:
        return Segments(labels, 0)
    count = _label(np.ascontiguousarray(mask).view(np.uint8), min_size_px, labels)
    return Segments(labels, int(count))


@numba.njit
def _grow(values, capacity):  # type: ignore[no-untyped-def]
    """Return a longer array that begins with the given one."""
    grown = np.empty(capacity, values.dtype)
    grown[: values.size] = values
    return grown


@numba.njit
def _join(parent, a, b):  # type: ignore[no-untyped-def]
    """Join the components of runs a and b; the root that comes first stays root."""
    while parent[a] != a:
        parent[a] = parent[parent[a]]
        a = parent[a]
    while parent[b] != b:
        parent[b] = parent[parent[b]]
        b = parent[b]
    parent[max(a, b)] = min(a, b)


@kernel(
    array(types.uint8, 2), types.intp, array(types.int32, 2, readonly=False), returns=types.intp
)
def _label(mask, min_size_px, labels):  # type: ignore[no-untyped-def]
    """
    Write the ids into labels and return how many there are.

    Works on runs (OoD pixels side by side in a row): a run joins the runs of the row above that
    it touches, also diagonally. The parent of a run is never later in raster order, so a root is
    its component's first run and numbering the roots as they come gives the wanted order.
    """
    height, width = mask.shape
    capacity = 1024
    row = np.empty(capacity, np.int32)
    start = np.empty(capacity, np.int32)
    stop = np.empty(capacity, np.int32)
    parent = np.empty(capacity, np.int32)
    runs = 0
    above, above_end = 0, 0  # the runs of the row above are above..above_end-1
    for y in range(height):
        line = mask[y]
        first = runs
        x = 0
        while x < width:
            if line[x] == 0:
                x += 1
                continue
            begin = x
            while x < width and line[x] != 0:
                x += 1
            if runs == capacity:
                capacity *= 2
                row = _grow(row, capacity)
                start = _grow(start, capacity)
                stop = _grow(stop, capacity)
                parent = _grow(parent, capacity)
            row[runs], start[runs], stop[runs], parent[runs] = y, begin, x, runs
            while above < above_end and stop[above] < begin:
                above += 1
            touching = above
            while touching < above_end and start[touching] <= x:
                _join(parent, touching, runs)
                touching += 1
            # the last one may also touch the next run
            above = max(above, touching - 1)
            runs += 1
        above, above_end = first, runs
    size = np.zeros(runs, np.int64)
    for i in range(runs):
        parent[i] = parent[parent[i]]  # parents come earlier, so theirs already is a root
        size[parent[i]] += stop[i] - start[i]
    count = 0
    for i in range(runs):
        root = parent[i]
        if root == i:
            count += size[i] >= min_size_px
            # from here on size holds the id, which later runs of the component look up
            size[i] = count if size[i] >= min_size_px else 0
        if size[root] > 0:
            labels[row[i], start[i] : stop[i]] = size[root]
    return count
