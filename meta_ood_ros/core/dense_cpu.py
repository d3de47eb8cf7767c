"""
Low-resolution logits -> semantic, entropy and max_probability at full size, on the CPU.

The image is worked off in tiles of 16 rows, whose logits of all classes stay in the cache. Inside
a tile the 16 rows lie next to each other in memory: the pixels of one column share the horizontal
weight, so that every step is plain arithmetic on lanes. (Along a row each pixel would have to
gather its two input columns, which is several times slower.)
"""

import math

from meta_ood_ros.core.interpolation import count_sources, find_grid, grid_type
from meta_ood_ros.core.jit import array, bits_to_float, float_to_bits, kernel, part
from meta_ood_ros.core.lanes import (
    load,
    power_of_two,
    spread,
    spread_from,
    store,
    store_transposed,
    where_greater,
)
from meta_ood_ros.core.parallel import run_over_rows
from numba import types
import numpy as np
from numpy.typing import NDArray

# Rows of a tile: one AVX-512 register of float32, two of AVX2, four of NEON.
LANES = 16
# float32 numbers of one tile's logits, 128 KB: a part of the second-level cache, and long enough
# runs of each row of input that they are fetched ahead
TILE_NUMBERS = 1 << 15

_LOG2_E = np.float32(1.4426950408889634)
# 1.5 * 2**23: adding it rounds to an integer, which then stands in the low bits of the sum.
_ROUND = np.float32(12582912.0)
# 2**-127 has the bit pattern of 0, so everything from exp(-88) = 6e-39 down becomes exactly 0
_SMALLEST = np.float32(-88.0)
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
# 2**r on [-1/2, 1/2], minimax in relative error (9.1e-8) with the constant fixed at 1, so that
# exp(0) is exactly 1 and a saturated softmax has exactly entropy 0.
_E1, _E2, _E3, _E4, _E5 = (
    np.float32(c)
    for c in (0.693146977598993, 0.2402224208526217, 0.055507337434969356,
              0.009671512644830339, 0.0013264727123586256)
)  # fmt: skip
# log(1 + x) / x on [1/sqrt(2) - 1, sqrt(2) - 1], minimax (1.7e-7)
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7 = (
    np.float32(c)
    for c in (0.9999999453106887, -0.5000036512438681, 0.3333505892257311, -0.24969908988269457,
              0.19900166120806517, -0.17250831392631655, 0.162225757852036, -0.10106884074538772)
)  # fmt: skip
_LN_2 = np.float32(math.log(2.0))
_SQRT_HALF_BITS = np.int32(0x3F3504F3)  # the float32 sqrt(1/2)
_EXPONENT = np.int32(23)
_BIAS = np.int32(127 << 23)


@part
def _exp(x):  # type: ignore[no-untyped-def]
    """Return exp(x) for lanes -88 <= x <= 0, relative error 2e-7 where exp(x) > 1e-3."""
    shifted = x * spread(_LOG2_E) + spread(_ROUND)
    r = x * spread(_LOG2_E) - (shifted - spread(_ROUND))
    p = spread(_E5) * r + spread(_E4)
    p = p * r + spread(_E3)
    p = p * r + spread(_E2)
    p = p * r + spread(_E1)
    return (p * r + spread(_ONE)) * power_of_two(shifted)


@part
def _log(x):  # type: ignore[no-untyped-def]
    """Return log(x) for normal x >= 1 in float32, absolute error 2e-7 + 6e-8 log(x); NaN stays."""
    exponent = np.int32(np.int32(float_to_bits(x) - _SQRT_HALF_BITS) >> _EXPONENT)
    f = bits_to_float(np.int32(float_to_bits(x) - (exponent << _EXPONENT))) - _ONE
    p = ((((((_L7 * f + _L6) * f + _L5) * f + _L4) * f + _L3) * f + _L2) * f + _L1) * f + _L0
    return f * p + np.float32(exponent) * _LN_2


@part
def _mix_rows(grid, top, rows, mix):  # type: ignore[no-untyped-def]
    """Fill mix, flat (sources, LANES): how much of each input row is in each row of the tile."""
    mix[:] = _ZERO
    first = grid.row_low[top]
    for r in range(LANES):
        y = top + min(r, rows - 1)
        mix[(grid.row_low[y] - first) * LANES + r] += _ONE - grid.row_weight[y]
        mix[(grid.row_high[y] - first) * LANES + r] += grid.row_weight[y]


@part
def _interpolate_rows(  # type: ignore[no-untyped-def]
    logits, shape, row, mixed, mix, source, sources, vertical
):
    """Fill vertical, flat (C, sources, LANES): the tile's rows, still in input columns."""
    num_classes, height, width = shape
    for c in range(num_classes):
        for i in range(sources):
            start = (c * height + row) * width + source + i
            value = spread_from(logits, start) * load(mix, 0)
            for k in range(1, mixed):
                value = value + spread_from(logits, start + k * width) * load(mix, k * LANES)
            store(vertical, (c * sources + i) * LANES, value)


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
    winner = spread(_ZERO)
    for c in range(1, num_classes):
        start = c * sources * LANES
        value = load(vertical, start + left)
        value = value + weight * (load(vertical, start + right) - value)
        store(values, c * LANES, value)
        # a tie stays with the lowest class, as only a greater value wins
        winner = where_greater(value, best, spread(np.float32(c)), winner)
        best = where_greater(value, best, value, best)
    sum_e = spread(_ZERO)
    sum_de = spread(_ZERO)
    smallest = spread(_SMALLEST)
    for c in range(num_classes):
        distance = load(values, c * LANES) - best
        distance = where_greater(smallest, distance, smallest, distance)  # NaN stays NaN
        e = _exp(distance)
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
        h = (_log(total[q]) - weighted[q] / total[q]) * per_log_c
        unusable |= np.int32(not (h < np.float32(2.0)))
        weighted[q] = min(max(h, _ZERO), _ONE)
        total[q] = _ONE / total[q]
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
        _mix_rows(grid, top, rows, mix)
        for left in range(0, width, tile_columns):
            columns = min(tile_columns, width - left)
            source = grid.column_low[left]
            sources = grid.column_high[left + columns - 1] - source + 1
            _interpolate_rows(logits, grid.shape, row, mixed, mix, source, sources, vertical)
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
    size : (int, int)
        Height and width of the maps.
    align_corners : bool
        As in torch.nn.functional.interpolate.

    Returns
    -------
    semantic : ndarray of shape (H, W), uint8
    entropy, max_probability : ndarray of shape (H, W), float32 in [0, 1]
    finite : bool
        False where a NaN or an infinity among the logits reached a map.

    """
    grid = find_grid(logits.shape, size, 'float32', align_corners=align_corners)
    # as many columns as keep the tile's input in the cache, in squares
    most_columns = TILE_NUMBERS // (logits.shape[0] * LANES) - 2
    tile_columns = most_columns * size[1] // logits.shape[2] // LANES * LANES
    tile_columns = min(max(tile_columns, LANES), 512)
    most = (
        tile_columns,
        count_sources(grid.row_low, grid.row_high, LANES),
        count_sources(grid.column_low, grid.column_high, tile_columns),
    )
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
