"""Labels -> which pixels of a tile are interior and which are boundary, segment by segment."""

from meta_ood_ros.core.kernels.jit import part
from meta_ood_ros.core.kernels.segment_softmax import LANES
import numpy as np

INTERIOR, BOUNDARY = 1, 2


@part
def find_extremes(labels, top, rows, left, columns):  # type: ignore[no-untyped-def]
    """Return the smallest and the largest label of the tile, or 0 if that is beyond it."""
    smallest, largest = np.int32(0), np.int32(0)
    for r in range(rows):
        line = labels[top + r, left : left + columns]
        for j in range(columns):
            smallest = min(smallest, line[j])
            largest = max(largest, line[j])
    return smallest, largest


@part
def find_marks(labels, top, rows, left, columns, inside, marks, used):  # type: ignore[no-untyped-def]
    """
    Fill marks (LANES, columns) with 0, INTERIOR or BOUNDARY, and used (columns,) with their sum.

    inside (LANES + 2, columns + 2) is scratch: the tile and one pixel around it. Beyond the image
    everything is inside, for its border makes no boundary.
    """
    height, width = labels.shape
    inside[: rows + 2, : columns + 2] = 1
    begin, end = max(left - 1, 0), min(left + columns + 1, width)
    for i in range(rows + 2):
        y = top + i - 1
        if 0 <= y < height:
            # views, because LLVM vectorises what plainly counts from 0
            line, target = labels[y, begin:end], inside[i, begin - left + 1 :]
            for j in range(line.size):
                target[j] = line[j] != 0
    used[:columns] = 0
    for r in range(rows):
        above, row, below, out = inside[r], inside[r + 1], inside[r + 2], marks[r]
        for j in range(columns):
            everywhere = (
                above[j] & above[j + 1] & above[j + 2] & row[j] & row[j + 2]
                & below[j] & below[j + 1] & below[j + 2]
            )  # fmt: skip
            mark = np.uint8(row[j + 1] * (BOUNDARY - everywhere))
            out[j] = mark
            used[j] |= mark
    marks[rows:, :columns] = 0


@part
def find_range(used, columns):  # type: ignore[no-untyped-def]
    """Return the first and the last column with a mark; there is one."""
    first, last = 0, columns - 1
    while used[first] == 0:
        first += 1
    while used[last] == 0:
        last -= 1
    return first, last


@part
def take_segment(labels, top, rows, x, marks, j, interior, boundary):  # type: ignore[no-untyped-def]
    """
    Return the id of the first segment marked in column j, or 0, and remove its marks.

    interior and boundary (LANES,) become 1 where they were.
    """
    k = 0
    for r in range(LANES):
        interior[r] = 0.0
        boundary[r] = 0.0
        if r < rows and marks[r, j] != 0 and (k == 0 or labels[top + r, x] == k):
            k = labels[top + r, x]
            interior[r] = marks[r, j] == INTERIOR
            boundary[r] = marks[r, j] == BOUNDARY
            marks[r, j] = 0
    return k
