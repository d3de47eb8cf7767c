"""
Low-resolution logits -> semantic, entropy and max_probability at full size, on the CPU.

The image is worked off in tiles of 16 rows, whose logits of all classes stay in the cache, see
dense_tiles.py.
"""

import math

from meta_ood_ros.core.kernels.dense_tiles import (
    exp,
    find_tile_size,
    interpolate_rows,
    LANES,
    log,
    mix_rows,
    ONE,
    SMALLEST,
    ZERO,
)
from meta_ood_ros.core.kernels.interpolation import find_grid, grid_type
from meta_ood_ros.core.kernels.jit import array, kernel, part
from meta_ood_ros.core.kernels.lanes import (
    load,
    spread,
    spread_from,
    store,
    store_transposed,
    where_greater,
)
from meta_ood_ros.core.kernels.parallel import run_over_rows
from numba import types
import numpy as np
from numpy.typing import NDArray


@part
def _softmax_column(  # type: ignore[no-untyped-def]
    vertical, num_classes, sources, left, right, weight, values, q, best_class, total, weighted
):
    """
    Fill the lanes from q on of best_class, total and weighted: one column of the tile.

    total is the sum of e^d and weighted that of d e^d, with d the distance to the best logit.
    """
    best = load(vertical, left)
    best = best + weight * (load(vertical, right) - best)
    store(values, 0, best)
    winner = spread(ZERO)
    for c in range(1, num_classes):
        start = c * sources * LANES
        value = load(vertical, start + left)
        value = value + weight * (load(vertical, start + right) - value)
        store(values, c * LANES, value)
        # a tie stays with the lowest class, as only a greater value wins
        winner = where_greater(value, best, spread(np.float32(c)), winner)
        best = where_greater(value, best, value, best)
    sum_e = spread(ZERO)
    sum_de = spread(ZERO)
    smallest = spread(SMALLEST)
    for c in range(num_classes):
        distance = load(values, c * LANES) - best
        distance = where_greater(smallest, distance, smallest, distance)  # NaN stays NaN
        e = exp(distance)
        sum_e = sum_e + e
        sum_de = sum_de + e * distance
    store(best_class, q, winner)
    store(total, q, sum_e)
    store(weighted, q, sum_de)


@part
def _finish(total, weighted, per_log_c, n):  # type: ignore[no-untyped-def]
    """Turn weighted into the entropy and total into the best probability; count what is NaN."""
    unusable = np.int32(0)
    for q in range(n):
        # H = log(sum e^d) - sum(d e^d) / sum(e^d)
        h = (log(total[q]) - weighted[q] / total[q]) * per_log_c
        unusable |= np.int32(not (h < np.float32(2.0)))
        weighted[q] = min(max(h, ZERO), ONE)
        total[q] = ONE / total[q]
    return unusable


@part
def _write_tile(tile, rows, columns, start, width, image):  # type: ignore[no-untyped-def]
    """Copy the tile, flat (columns, LANES), to its place in the flat image."""
    squares = columns - columns % LANES if rows == LANES else 0
    for j in range(0, squares, LANES):
        store_transposed(tile, j * LANES, image, start + j, width)
    for r in range(rows):
        for j in range(squares, columns):
            image[start + r * width + j] = tile[j * LANES + r]


@kernel(
    array(types.float32, 1), grid_type(types.float32), types.UniTuple(types.intp, 3),
    types.intp, types.intp,
    array(types.uint8, 1, readonly=False),
    array(types.float32, 1, readonly=False),
    array(types.float32, 1, readonly=False),
    returns=types.boolean,
)  # fmt: skip
def _predict_rows(logits, grid, most, first, last, semantic, entropy, max_probability):  # type: ignore[no-untyped-def]
    """
    Fill the rows first..last-1 of the three flat maps; return whether all are numbers.

    most says how many columns a tile has, and from how many input rows and columns it is mixed.
    """
    tile_columns, most_rows, most_columns = most
    num_classes = grid.shape[0]
    width = grid.column_low.size
    per_log_c = np.float32(1.0 / math.log(num_classes))
    mix = np.empty(most_rows * LANES, np.float32)
    vertical = np.empty(num_classes * most_columns * LANES, np.float32)
    values = np.empty(num_classes * LANES, np.float32)
    best_class = np.empty(tile_columns * LANES, np.float32)
    total = np.empty(tile_columns * LANES, np.float32)
    weighted = np.empty(tile_columns * LANES, np.float32)
    unusable = np.int32(0)
    for top in range(first, last, LANES):
        rows = min(LANES, last - top)
        row = grid.row_low[top]
        mixed = grid.row_high[top + rows - 1] - row + 1
        mix_rows(grid, top, rows, mix)
        for left in range(0, width, tile_columns):
            columns = min(tile_columns, width - left)
            source = grid.column_low[left]
            sources = grid.column_high[left + columns - 1] - source + 1
            interpolate_rows(logits, grid.shape, row, mixed, mix, source, sources, vertical)
            for j in range(columns):
                x = left + j
                _softmax_column(
                    vertical, num_classes, sources, (grid.column_low[x] - source) * LANES,
                    (grid.column_high[x] - source) * LANES, spread_from(grid.column_weight, x),
                    values, j * LANES, best_class, total, weighted,
                )  # fmt: skip
            unusable |= _finish(total, weighted, per_log_c, columns * LANES)
            start = top * width + left
            _write_tile(best_class, rows, columns, start, width, semantic)
            _write_tile(weighted, rows, columns, start, width, entropy)
            _write_tile(total, rows, columns, start, width, max_probability)
    return unusable == 0


def predict_on_cpu(
    logits: NDArray[np.float32], size: tuple[int, int], *, align_corners: bool
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32], bool]:
    """
    Return semantic, entropy, max_probability and whether all of them are numbers.

    Parameters
    ----------
    logits : ndarray of shape (C, h, w), float32, C-contiguous
        Class scores before the softmax, 2 <= C <= 255.

    Returns
    -------
    semantic : ndarray of shape (H, W), uint8
    entropy, max_probability : ndarray of shape (H, W), float32 in [0, 1]

    """
    grid = find_grid(logits.shape, size, 'float32', align_corners=align_corners)
    most = find_tile_size(grid, size)
    semantic = np.empty(size, np.uint8)
    entropy = np.empty(size, np.float32)
    max_probability = np.empty(size, np.float32)

    def work(first: int, last: int) -> bool:
        return _predict_rows(
            logits.reshape(-1), grid, most, first, last,
            semantic.reshape(-1), entropy.reshape(-1), max_probability.reshape(-1),
        )  # fmt: skip

    _predict_rows.compile()  # once, before several threads would wait for it
    finite = all(run_over_rows(work, size[0], rows_per_chunk=2 * LANES))
    return semantic, entropy, max_probability, finite
