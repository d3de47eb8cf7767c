"""
Low-resolution logits and labels -> sums over the pixels of each segment, on the CPU.

Logits are interpolated and put through the softmax in columns of eight pixels, in float64, and
only in columns that hold a pixel of a segment: the work is at most eight times the number of OoD
pixels (about 1.3 times for compact objects), whatever the image, the classes or the segments.
"""

import math
from typing import NamedTuple

from meta_ood_ros.core.kernels.interpolation import count_sources, find_grid, grid_type
from meta_ood_ros.core.kernels.jit import array, kernel, part
from meta_ood_ros.core.kernels.lanes import load, spread, spread_from, store, sum_of
from meta_ood_ros.core.kernels.parallel import count_workers, run_workers
from meta_ood_ros.core.kernels.segment_marks import (
    find_extremes,
    find_marks,
    find_range,
    take_segment,
)
from meta_ood_ros.core.kernels.segment_softmax import (
    interpolate_rows,
    LANES,
    mix_rows,
    softmax_column,
    to_uncertainty,
)
from meta_ood_ros.core.kernels.segment_sums import FIRST_MOMENT, FIXED, POSITION, SECOND_MOMENT
from numba import types
import numpy as np
from numpy.typing import NDArray

UNKNOWN = 255  # no class yet; class ids end at 254
# float64 numbers of one tile's probabilities: 64 KB, a part of the second-level cache.
TILE_NUMBERS = 1 << 13
# Each thread has its own table of sums; together they stay below 64 MB.
TABLE_NUMBERS = 1 << 23

_FIRST, _SECOND, _POSITION = FIRST_MOMENT.start, SECOND_MOMENT.start, POSITION.start


class Block(NamedTuple):
    """The softmax of a tile's columns; flat (columns, LANES), and e flat (columns, C, LANES)."""

    e: NDArray[np.float64]
    share: NDArray[np.float64]
    entropy: NDArray[np.float64]
    margin: NDArray[np.float64]
    variation: NDArray[np.float64]


@part
def _add_product(pending, column, a, b):  # type: ignore[no-untyped-def]
    """Add a times b to a column of the pending sums."""
    store(pending, column * LANES, load(pending, column * LANES) + a * b)


@part
def _add_quantity(pending, i, value, interior, boundary):  # type: ignore[no-untyped-def]
    """Add the i-th quantity and its square to the pending sums of interior and boundary."""
    _add_product(pending, _FIRST + i, value, interior)
    _add_product(pending, _FIRST + i + 3, value, boundary)
    _add_product(pending, _SECOND + i, value * value, interior)
    _add_product(pending, _SECOND + i + 3, value * value, boundary)


@part
def _add_column(num_classes, n, x, lane_row, block, interior, boundary, pending):  # type: ignore[no-untyped-def]
    """Add the n-th column, at x in the image, to the pending sums."""
    q = n * LANES
    inner, border = load(interior, 0), load(boundary, 0)
    both = inner + border
    _add_product(pending, 0, inner, spread(1.0))
    _add_product(pending, 1, border, spread(1.0))
    _add_quantity(pending, 0, load(block.entropy, q), inner, border)
    _add_quantity(pending, 1, load(block.margin, q), inner, border)
    _add_quantity(pending, 2, load(block.variation, q), inner, border)
    _add_product(pending, _POSITION, load(lane_row, 0), both)
    _add_product(pending, _POSITION + 1, spread(np.float64(x)), both)
    weight = load(block.share, q) * both
    for c in range(num_classes):
        probability = load(block.e, (n * num_classes + c) * LANES)
        _add_product(pending, FIXED + c, probability, weight)


@part
def _flush(pending, num_classes, k, sums):  # type: ignore[no-untyped-def]
    """Move what is pending to the sums of segment k, if there is one."""
    for column in range(FIXED + num_classes if k > 0 else 0):
        sums[k - 1, column] += sum_of(load(pending, column * LANES))
        store(pending, column * LANES, spread(0.0))


@part
def _most_probable(logits, grid, y, x):  # type: ignore[no-untyped-def]
    """Return the class of pixel (y, x), ties to the lowest."""
    num_classes, height, width = grid.shape
    corner = grid.row_low[y] * width + grid.column_low[x]
    right = grid.column_high[x] - grid.column_low[x]
    down = (grid.row_high[y] - grid.row_low[y]) * width
    row_weight, column_weight = grid.row_weight[y], grid.column_weight[x]
    best = -np.inf
    best_class = 0
    for c in range(num_classes):
        i = c * height * width + corner
        upper = logits[i] + column_weight * (np.float64(logits[i + right]) - logits[i])
        i += down
        lower = logits[i] + column_weight * (np.float64(logits[i + right]) - logits[i])
        value = upper + row_weight * (lower - upper)
        if value > best:
            best, best_class = value, c
    return best_class


@part
def _count_neighbours(logits, grid, labels, classes, y, x, k, sums):  # type: ignore[no-untyped-def]
    """Count the classes of the neighbours of pixel (y, x) that belong to no segment."""
    for i in range(max(y - 1, 0), min(y + 2, labels.shape[0])):
        for j in range(max(x - 1, 0), min(x + 2, labels.shape[1])):
            if labels[i, j] == 0:
                c = np.intp(classes[i, j])
                if c == UNKNOWN:
                    c = _most_probable(logits, grid, i, j)
                    classes[i, j] = c  # two threads may write here, but the same class
                sums[k - 1, FIXED + grid.shape[0] + c] += 1.0


@part
def _add_columns(  # type: ignore[no-untyped-def]
    logits, grid, labels, classes, tile, marks, used, lane_row, interior, boundary, block, current,
    pending, sums,
):  # fmt: skip
    """
    Add a tile's columns with marks to the sums of their segments.

    pending belongs to the segment current; returned is which it belongs to afterwards.
    """
    top, rows, left, first, last = tile
    num_classes = grid.shape[0]
    n = 0
    for j in range(first, last + 1):
        x = left + j
        while used[j] != 0:
            k = take_segment(labels, top, rows, x, marks, j, interior, boundary)
            # nearly always a column meets one segment; others take further rounds
            if k == 0:
                n += 1
                break
            if k != current:
                _flush(pending, num_classes, current, sums)
                current = k
            _add_column(num_classes, n, x, lane_row, block, interior, boundary, pending)
            for r in range(rows):
                if boundary[r] != 0.0:
                    _count_neighbours(logits, grid, labels, classes, top + r, x, k, sums)
    return current


@kernel(
    array(types.float32, 1), grid_type(types.float64), types.UniTuple(types.intp, 3),
    array(types.int32, 2), array(types.uint8, 2, readonly=False), types.intp, types.intp,
    array(types.float64, 2, readonly=False), returns=types.boolean,
)  # fmt: skip
def _sum_strips(logits, grid, most, labels, classes, worker, workers, sums):  # type: ignore[no-untyped-def]
    """
    Add the pixels of every workers-th strip of rows to the sums of their segments.

    Returns False if a label is no segment's. most says how many columns a tile has, and from how
    many input rows and columns it is mixed; classes holds the most probable classes, or UNKNOWN
    where they are to be computed if needed.
    """
    tile_columns, most_rows, most_columns = most
    num_classes = grid.shape[0]
    height, width = labels.shape
    per_log_c = 1.0 / math.log(num_classes)
    inside = np.empty((LANES + 2, tile_columns + 2), np.uint8)
    marks, used = np.empty((LANES, tile_columns), np.uint8), np.empty(tile_columns, np.uint8)
    mix = np.empty(most_rows * LANES)
    vertical = np.empty(num_classes * most_columns * LANES)
    block = Block(
        np.empty(tile_columns * num_classes * LANES),
        np.empty(tile_columns * LANES),
        np.empty(tile_columns * LANES),
        np.empty(tile_columns * LANES),
        np.empty(tile_columns * LANES),
    )
    lane_row, interior, boundary = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    pending = np.zeros((FIXED + num_classes) * LANES)
    current = 0
    for top in range(worker * LANES, height, workers * LANES):
        rows = min(LANES, height - top)
        row = grid.row_low[top]
        mixed = grid.row_high[top + rows - 1] - row + 1
        mix_rows(grid, top, rows, mix)
        for r in range(LANES):
            lane_row[r] = top + r
        for left in range(0, width, tile_columns):
            columns = min(tile_columns, width - left)
            smallest, largest = find_extremes(labels, top, rows, left, columns)
            if smallest < 0 or largest > sums.shape[0]:
                return False
            if largest == 0:
                continue
            find_marks(labels, top, rows, left, columns, inside, marks, used)
            first, last = find_range(used, columns)
            source = grid.column_low[left + first]
            sources = grid.column_high[left + last] - source + 1
            interpolate_rows(logits, grid.shape, row, mixed, mix, source, sources, vertical)
            n = 0
            for j in range(first, last + 1):
                x = left + j
                if used[j] != 0:
                    softmax_column(
                        vertical, num_classes, sources, (grid.column_low[x] - source) * LANES,
                        (grid.column_high[x] - source) * LANES, spread_from(grid.column_weight, x),
                        n, block.e, block.share, block.entropy, block.margin,
                    )  # fmt: skip
                    n += 1
            to_uncertainty(
                block.share, block.entropy, block.margin, block.variation, per_log_c, n * LANES
            )
            current = _add_columns(
                logits, grid, labels, classes, (top, rows, left, first, last), marks, used,
                lane_row, interior, boundary, block, current, pending, sums,
            )  # fmt: skip
    _flush(pending, num_classes, current, sums)
    return True


def sum_from_logits(
    logits: NDArray[np.float32],
    labels: NDArray[np.int32],
    count: int,
    *,
    align_corners: bool,
    semantic: NDArray[np.uint8] | None,
) -> NDArray[np.float64]:
    """
    Return the table of sums of segment_sums.py.

    Parameters
    ----------
    logits : ndarray of shape (C, h, w), float32, C-contiguous
        Class scores before the softmax, 2 <= C <= 255.
    labels : ndarray of shape (H, W), int32
        0 or the id of a segment, 1..count.
    semantic : ndarray of shape (H, W), uint8, or None
        Most probable classes where they are known already.

    Returns
    -------
    ndarray of shape (K, FIXED + 2C), float64

    """
    num_classes = logits.shape[0]
    numbers = FIXED + 2 * num_classes
    if count == 0:
        return np.zeros((0, numbers))
    grid = find_grid(logits.shape, labels.shape, 'float64', align_corners=align_corners)
    labels = np.ascontiguousarray(labels)
    classes = np.full(labels.shape, UNKNOWN, np.uint8)
    if semantic is not None:
        classes = np.require(semantic, requirements=('C', 'W'))
    tile_columns = min(max(TILE_NUMBERS // (num_classes * LANES), LANES), 64)
    most = (
        tile_columns,
        count_sources(grid.row_low, grid.row_high, LANES),
        count_sources(grid.column_low, grid.column_high, tile_columns),
    )
    workers = count_workers(-(-labels.shape[0] // LANES))
    workers = max(1, min(workers, TABLE_NUMBERS // (count * numbers)))
    # one table a worker, added in their order: the last bits are the same at every run
    tables = np.zeros((workers, count, numbers))

    def work(worker: int) -> bool:
        return _sum_strips(
            logits.reshape(-1), grid, most, labels, classes, worker, workers, tables[worker]
        )

    _sum_strips.compile()  # once, before several threads would wait for it
    if not all(run_workers(work, workers)):
        raise ValueError(
            f'segments.labels must lie in 0..count, got others with count={count}. '
            'Pass the Segments that find_segments returned, unchanged.'
        )
    return tables.sum(0)
