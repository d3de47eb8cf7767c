"""
Parts of kernels that work on low-resolution logits in tiles of 16 rows of the full-size image.

Inside a tile the 16 rows lie next to each other in memory: the pixels of one column share the
horizontal weight, so that every step is plain arithmetic on lanes. (Along a row each pixel would
have to gather its two input columns, which is several times slower.)
"""

import math

from meta_ood_ros.core.kernels.interpolation import count_sources, Grid
from meta_ood_ros.core.kernels.jit import bits_to_float, float_to_bits, part
from meta_ood_ros.core.kernels.lanes import load, power_of_two, spread, spread_from, store
import numpy as np

# Rows of a tile: one AVX-512 register of float32, two of AVX2, four of NEON.
LANES = 16
# float32 numbers of one tile's logits, 128 KB: a part of the second-level cache, and long enough
# runs of each row of input that they are fetched ahead
TILE_NUMBERS = 1 << 15

_LOG2_E = np.float32(1.4426950408889634)
# 1.5 * 2**23: adding it rounds to an integer, which then stands in the low bits of the sum.
_ROUND = np.float32(12582912.0)
# 2**-127 has the bit pattern of 0, so everything from exp(-88) = 6e-39 down becomes exactly 0
SMALLEST = np.float32(-88.0)
ZERO = np.float32(0.0)
ONE = np.float32(1.0)
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


@part
def exp(x):  # type: ignore[no-untyped-def]
    """Return e to the x for lanes -88 <= x <= 0, relative error 2e-7 above 1e-3."""
    shifted = x * spread(_LOG2_E) + spread(_ROUND)
    r = x * spread(_LOG2_E) - (shifted - spread(_ROUND))
    p = spread(_E5) * r + spread(_E4)
    p = p * r + spread(_E3)
    p = p * r + spread(_E2)
    p = p * r + spread(_E1)
    return (p * r + spread(ONE)) * power_of_two(shifted)


@part
def log(x):  # type: ignore[no-untyped-def]
    """Return ln x for normal x >= 1 in float32, absolute error 2e-7 + 6e-8 ln x; NaN stays."""
    exponent = np.int32(np.int32(float_to_bits(x) - _SQRT_HALF_BITS) >> _EXPONENT)
    f = bits_to_float(np.int32(float_to_bits(x) - (exponent << _EXPONENT))) - ONE
    p = ((((((_L7 * f + _L6) * f + _L5) * f + _L4) * f + _L3) * f + _L2) * f + _L1) * f + _L0
    return f * p + np.float32(exponent) * _LN_2


@part
def mix_rows(grid, top, rows, mix):  # type: ignore[no-untyped-def]
    """Fill mix, flat (sources, LANES): how much of each input row is in each row of the tile."""
    mix[:] = ZERO
    first = grid.row_low[top]
    for r in range(LANES):
        y = top + min(r, rows - 1)
        mix[(grid.row_low[y] - first) * LANES + r] += ONE - grid.row_weight[y]
        mix[(grid.row_high[y] - first) * LANES + r] += grid.row_weight[y]


@part
def interpolate_rows(  # type: ignore[no-untyped-def]
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


def find_tile_size(grid: Grid, size: tuple[int, int], *, arrays: int = 1) -> tuple[int, int, int]:
    """
    Return how large the tiles of an image are at most.

    Parameters
    ----------
    arrays : int
        How many arrays of the size of a tile's input share the cache.

    Returns
    -------
    columns : int
        Of the image, in one tile: as many as keep the tile's input in the cache, in squares.

    """
    num_classes, _, width = grid.shape
    sources = max(TILE_NUMBERS // (arrays * num_classes * LANES) - 2, 1)
    columns = min(max(sources * size[1] // width // LANES * LANES, LANES), 512)
    return (
        columns,
        count_sources(grid.row_low, grid.row_high, LANES),
        count_sources(grid.column_low, grid.column_high, columns),
    )
