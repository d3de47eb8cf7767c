"""
Low-resolution logits -> softmax and uncertainty of columns of eight pixels, in float64.

In float64 because segment metrics are compared to 1e-6 of their value, and a probability is
e to the power of differences of logits that float32 holds to 1e-6 at best. The eight pixels of a
column share the horizontal weight, so that all steps are plain arithmetic on lanes.
"""

import math

from meta_ood_ros.core.kernels.jit import bits_to_float, float_to_bits, part
from meta_ood_ros.core.kernels.lanes import (
    FLOAT64_LANES,
    load,
    power_of_two,
    spread,
    spread_wider,
    store,
    where_greater,
)
import numpy as np

LANES = FLOAT64_LANES.count

_LOG2_E = 1.4426950408889634
_LN_2 = math.log(2.0)
_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD  # the float64 sqrt(1/2)
# 1.5 * 2**52: adding it rounds to an integer, which then stands in the low bits of the sum.
_ROUND = 6755399441055744.0
_SMALLEST = -709.0  # 2**-1023 has the bit pattern of 0: from here down exp is exactly 0
# 2**r on [-1/2, 1/2], minimax in relative error (4.7e-11) with the constant fixed at 1
_E1, _E2, _E3, _E4, _E5, _E6, _E7 = (
    0.6931471807045321, 0.24022651066561335, 0.055504103659916176, 0.009618038132029577,
    0.0013333935055409238, 0.00015466756325940682, 1.519615658284075e-05,
)  # fmt: skip


@part
def _exp(x):  # type: ignore[no-untyped-def]
    """Return exp(x) for lanes -709 <= x <= 0, relative error 5e-11."""
    shifted = x * spread(_LOG2_E) + spread(_ROUND)
    r = x * spread(_LOG2_E) - (shifted - spread(_ROUND))
    p = spread(_E7) * r + spread(_E6)
    p = p * r + spread(_E5)
    p = p * r + spread(_E4)
    p = p * r + spread(_E3)
    p = p * r + spread(_E2)
    p = p * r + spread(_E1)
    return (p * r + spread(1.0)) * power_of_two(shifted)


@part
def _log(x):  # type: ignore[no-untyped-def]
    """Return log(x) for x >= 1, absolute error 1e-12; NaN stays NaN."""
    exponent = (float_to_bits(x) - _SQRT_HALF_BITS) >> 52
    f = bits_to_float(float_to_bits(x) - (exponent << 52)) - 1.0
    # log(1 + f) = 2 atanh(s), and |s| <= 0.1716
    s = f / (2.0 + f)
    z = s * s
    p = 1 / 13 * z + 1 / 11
    p = p * z + 1 / 9
    p = p * z + 1 / 7
    p = p * z + 1 / 5
    p = p * z + 1 / 3
    return 2.0 * s * (p * z + 1.0) + exponent * _LN_2


@part
def mix_rows(grid, top, rows, mix):  # type: ignore[no-untyped-def]
    """Fill mix, flat (sources, LANES): how much of each input row is in each row of the strip."""
    mix[:] = 0.0
    first = grid.row_low[top]
    for r in range(LANES):
        y = top + min(r, rows - 1)
        mix[(grid.row_low[y] - first) * LANES + r] += 1.0 - grid.row_weight[y]
        mix[(grid.row_high[y] - first) * LANES + r] += grid.row_weight[y]


@part
def interpolate_rows(logits, shape, row, mixed, mix, source, sources, vertical):  # type: ignore[no-untyped-def]
    """Fill vertical, flat (C, sources, LANES): the strip's rows, still in input columns."""
    num_classes, height, width = shape
    for c in range(num_classes):
        for i in range(sources):
            start = (c * height + row) * width + source + i
            value = spread_wider(logits, start) * load(mix, 0)
            for k in range(1, mixed):
                value = value + spread_wider(logits, start + k * width) * load(mix, k * LANES)
            store(vertical, (c * sources + i) * LANES, value)


@part
def softmax_column(  # type: ignore[no-untyped-def]
    vertical, num_classes, sources, left, right, weight, n, e, total, weighted, runner_up
):
    """
    Fill the lanes of the n-th column: e (n, C, LANES) with exp(logit - best logit) and its sums.

    total is the sum of e^d, weighted that of d e^d and runner_up the second largest e^d, with d
    the distance to the best logit.
    """
    start = n * num_classes * LANES
    best = spread(-np.inf)
    second = spread(-np.inf)
    for c in range(num_classes):
        source = c * sources * LANES
        value = load(vertical, source + left)
        value = value + weight * (load(vertical, source + right) - value)
        store(e, start + c * LANES, value)
        lesser = where_greater(value, best, best, value)
        second = where_greater(lesser, second, lesser, second)
        best = where_greater(value, best, value, best)
    sum_e = spread(0.0)
    sum_de = spread(0.0)
    smallest = spread(_SMALLEST)
    for c in range(num_classes):
        distance = load(e, start + c * LANES) - best
        distance = where_greater(smallest, distance, smallest, distance)  # NaN stays NaN
        value = _exp(distance)
        store(e, start + c * LANES, value)
        sum_e = sum_e + value
        sum_de = sum_de + value * distance
    distance = second - best
    store(
        runner_up,
        n * LANES,
        _exp(where_greater(smallest, distance, smallest, distance)),
    )
    store(total, n * LANES, sum_e)
    store(weighted, n * LANES, sum_de)


@part
def to_uncertainty(total, weighted, runner_up, variation, per_log_c, n):  # type: ignore[no-untyped-def]
    """Turn weighted into entropy, runner_up into margin and total into the best probability."""
    for q in range(n):
        share = 1.0 / total[q]
        # H = log(sum e^d) - sum(d e^d) / sum(e^d)
        h = (_log(total[q]) - weighted[q] * share) * per_log_c
        weighted[q] = min(max(h, 0.0), 1.0) if h == h else h
        variation[q] = 1.0 - share
        runner_up[q] = 1.0 - share + runner_up[q] * share
        total[q] = share
