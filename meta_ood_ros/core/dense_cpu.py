"""
Low-resolution logits -> semantic, entropy and max_probability at full size, on the CPU.

The image is worked off in tiles of 16 rows whose logits for all classes stay in the first-level
cache. Inside a tile the 16 rows lie next to each other in memory: the tile's pixels of one column
share the horizontal weight, so every inner loop is a run of equal operations on neighbouring
numbers, which LLVM turns into vector instructions. (Along a row each pixel would have to gather
its two input columns, which is several times slower.)
"""

import math

from meta_ood_ros.core.interpolation import find_taps
from meta_ood_ros.core.jit import array, bits_to_float, float_to_bits, FUSED, kernel
from meta_ood_ros.core.parallel import run_over_rows
import numba
from numba import types
import numpy as np
from numpy.typing import NDArray

# Rows of a tile: one AVX-512 register of float32, two of AVX2, four of NEON.
LANES = 16
# float32 numbers of one tile's logits: 24 KB, half of a usual first-level cache.
TILE_NUMBERS = 6144

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


@numba.njit(fastmath=set(FUSED), error_model='numpy')
def _exp(x):  # type: ignore[no-untyped-def]
    """Return exp(x) for x <= 0 in float32, relative error 2e-7 where exp(x) > 1e-3; NaN stays."""
    x = _SMALLEST if x < _SMALLEST else x
    shifted = x * _LOG2_E + _ROUND
    r = x * _LOG2_E - (shifted - _ROUND)
    # numba widens int32 to int64 at every operation: hence the casts
    power = bits_to_float(np.int32((float_to_bits(shifted) << _EXPONENT) + _BIAS))
    return (((((_E5 * r + _E4) * r + _E3) * r + _E2) * r + _E1) * r + _ONE) * power


@numba.njit(fastmath=set(FUSED), error_model='numpy')
def _log(x):  # type: ignore[no-untyped-def]
    """Return log(x) for normal x >= 1 in float32, absolute error 2e-7 + 6e-8 log(x); NaN stays."""
    exponent = np.int32(np.int32(float_to_bits(x) - _SQRT_HALF_BITS) >> _EXPONENT)
    f = bits_to_float(np.int32(float_to_bits(x) - (exponent << _EXPONENT))) - _ONE
    p = ((((((_L7 * f + _L6) * f + _L5) * f + _L4) * f + _L3) * f + _L2) * f + _L1) * f + _L0
    return f * p + np.float32(exponent) * _LN_2


@numba.njit(fastmath=set(FUSED), error_model='numpy')
def _lerp_rows(plane, low, high, weight, top, rows, source, sources, vertical):  # type: ignore[no-untyped-def]
    """Fill vertical (sources, LANES): the tile's rows, still in input columns."""
    for r in range(LANES):
        y = top + min(r, rows - 1)
        upper, lower, t = plane[low[y]], plane[high[y]], weight[y]
        for i in range(sources):
            a = upper[source + i]
            vertical[i, r] = a + t * (lower[source + i] - a)


@numba.njit(fastmath=set(FUSED), error_model='numpy')
def _lerp_columns(vertical, low, weight, left, columns, source, sources, values):  # type: ignore[no-untyped-def]
    """Fill values (columns * LANES,): the tile's logits of one class."""
    for j in range(columns):
        i = low[left + j] - source
        a, b, t = vertical[i], vertical[min(i + 1, sources - 1)], weight[left + j]
        out = values[j * LANES : (j + 1) * LANES]
        for r in range(LANES):
            out[r] = a[r] + t * (b[r] - a[r])


@numba.njit(fastmath=set(FUSED), error_model='numpy')
def _sample(  # type: ignore[no-untyped-def]
    plane, row_low, row_high, row_weight, col_low, col_weight, top, rows, left, columns, values
):
    """Fill values like the two steps above, for strong downscaling, which skips input columns."""
    for j in range(columns):
        x = col_low[left + j]
        x1, t = min(x + 1, plane.shape[1] - 1), col_weight[left + j]
        for r in range(LANES):
            y = top + min(r, rows - 1)
            upper, lower = plane[row_low[y]], plane[row_high[y]]
            a = upper[x] + row_weight[y] * (lower[x] - upper[x])
            b = upper[x1] + row_weight[y] * (lower[x1] - upper[x1])
            values[j * LANES + r] = a + t * (b - a)


@kernel(
    array(types.float32, 3),
    array(types.int32, 1), array(types.int32, 1), array(types.float32, 1),
    array(types.int32, 1), array(types.float32, 1),
    types.intp, types.intp, types.intp,
    array(types.uint8, 2, readonly=False),
    array(types.float32, 2, readonly=False),
    array(types.float32, 2, readonly=False),
    returns=types.boolean,
)  # fmt: skip
def _predict_rows(  # type: ignore[no-untyped-def]
    logits, row_low, row_high, row_weight, col_low, col_weight, tile_columns, first, last,
    semantic, entropy, max_probability,
):  # fmt: skip
    """Fill the rows first..last-1 of the three maps; return whether all of them are numbers."""
    num_classes, _, in_width = logits.shape
    width = semantic.shape[1]
    pixels = tile_columns * LANES
    per_log_c = np.float32(1.0 / math.log(num_classes))
    # a tile of columns reads at most this many input columns: two each, or a connected range
    most_sources = 2 * tile_columns + 2
    vertical = np.empty((most_sources, LANES), np.float32)
    values = np.empty((num_classes, pixels), np.float32)
    best = np.empty(pixels, np.float32)
    best_class = np.empty(pixels, np.int32)
    total = np.empty(pixels, np.float32)
    weighted = np.empty(pixels, np.float32)
    unusable = np.int32(0)
    for top in range(first, last, LANES):
        rows = min(LANES, last - top)
        for left in range(0, width, tile_columns):
            columns = min(tile_columns, width - left)
            n = columns * LANES
            source = col_low[left]
            sources = min(col_low[left + columns - 1] + 2, in_width) - source
            for c in range(num_classes):
                if sources <= most_sources:
                    _lerp_rows(logits[c], row_low, row_high, row_weight, top, rows, source,
                               sources, vertical)  # fmt: skip
                    _lerp_columns(vertical, col_low, col_weight, left, columns, source, sources,
                                  values[c])  # fmt: skip
                else:
                    _sample(logits[c], row_low, row_high, row_weight, col_low, col_weight, top,
                            rows, left, columns, values[c])  # fmt: skip
            best[:n] = values[0, :n]
            best_class[:n] = 0
            for c in range(1, num_classes):
                plane = values[c]
                for q in range(n):
                    better = plane[q] > best[q]  # not >=: a tie goes to the lowest class
                    best[q] = plane[q] if better else best[q]
                    best_class[q] = np.int32(c) if better else best_class[q]
            total[:n] = _ZERO
            weighted[:n] = _ZERO
            for c in range(num_classes):
                plane = values[c]
                for q in range(n):
                    distance = plane[q] - best[q]
                    e = _exp(distance)
                    total[q] += e
                    weighted[q] += e * max(distance, _SMALLEST)
            for q in range(n):
                # H = log(sum e) - sum(e d) / sum(e), with d the distance to the best logit
                h = (_log(total[q]) - weighted[q] / total[q]) * per_log_c
                unusable |= np.int32(not (h < np.float32(2.0)))
                weighted[q] = min(max(h, _ZERO), _ONE)
                total[q] = _ONE / total[q]
            for r in range(rows):
                for j in range(columns):
                    semantic[top + r, left + j] = np.uint8(best_class[j * LANES + r])
                    entropy[top + r, left + j] = weighted[j * LANES + r]
                    max_probability[top + r, left + j] = total[j * LANES + r]
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
    height, width = size
    rows = find_taps(logits.shape[1], height, align_corners=align_corners)
    columns = find_taps(logits.shape[2], width, align_corners=align_corners)
    row_weight, column_weight = rows.weight.astype(np.float32), columns.weight.astype(np.float32)
    tile_columns = max(4, TILE_NUMBERS // (logits.shape[0] * LANES))
    semantic = np.empty(size, np.uint8)
    entropy = np.empty(size, np.float32)
    max_probability = np.empty(size, np.float32)
    finite = []

    def work(first: int, last: int) -> None:
        finite.append(
            _predict_rows(
                logits, rows.low, rows.high, row_weight, columns.low, column_weight,
                tile_columns, first, last, semantic, entropy, max_probability,
            )
        )  # fmt: skip

    _predict_rows.compile()  # once, before several threads would wait for it
    run_over_rows(work, height, rows_per_chunk=2 * LANES)
    return semantic, entropy, max_probability, all(finite)
