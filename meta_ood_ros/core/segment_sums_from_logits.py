"""
Low-resolution logits and labels -> sums over the pixels of each segment, on the CPU.

Logits are interpolated and put through the softmax on the pixels of segments only, 64 at a time
and in float64: at 5 % OoD pixels this is less work than the float32 pass over all pixels.
"""

import math

from meta_ood_ros.core.interpolation import find_taps
from meta_ood_ros.core.jit import array, bits_to_float, float_to_bits, FUSED, kernel
from meta_ood_ros.core.segment_sums import FIRST_MOMENT, FIXED, POSITION, SECOND_MOMENT
import numba
from numba import types
import numpy as np
from numpy.typing import NDArray

BLOCK = 64  # pixels worked on together; their probabilities (19 classes: 10 KB) stay in cache
UNKNOWN = 255  # no class yet; class ids end at 254
# Each thread has its own table of sums; together they stay below 64 MB.
TABLE_NUMBERS = 1 << 23

_FIRST, _SECOND, _POSITION = FIRST_MOMENT.start, SECOND_MOMENT.start, POSITION.start
_LOG2_E = 1.4426950408889634
# 1.5 * 2**52: adding it rounds to an integer, which then stands in the low bits of the sum.
_ROUND = 6755399441055744.0
_SMALLEST = -709.0  # 2**-1023 has the bit pattern of 0: from here down exp is exactly 0
# 2**r on [-1/2, 1/2], minimax in relative error (8.2e-13) with the constant fixed at 1
_E1, _E2, _E3, _E4, _E5, _E6, _E7, _E8 = (
    0.6931471805482122, 0.24022650698110615, 0.05550410935266645, 0.009618128616118191,
    0.0013333454860208482, 0.00015403825465739717, 1.5309156255993196e-05, 1.31789328865488e-06,
)  # fmt: skip


@numba.njit(fastmath=set(FUSED), error_model='numpy')
def _exp(x):  # type: ignore[no-untyped-def]
    """Return exp(x) for x <= 0 in float64, relative error 1e-12; NaN stays NaN."""
    x = _SMALLEST if x < _SMALLEST else x
    shifted = x * _LOG2_E + _ROUND
    r = x * _LOG2_E - (shifted - _ROUND)
    power = bits_to_float((float_to_bits(shifted) << 52) + (1023 << 52))
    p = ((((((_E8 * r + _E7) * r + _E6) * r + _E5) * r + _E4) * r + _E3) * r + _E2) * r + _E1
    return (p * r + 1.0) * power


@numba.njit(fastmath=set(FUSED), error_model='numpy')
def _interpolate(plane, y, x, rows, columns, row_weight, column_weight):  # type: ignore[no-untyped-def]
    """Return the upsampled logit of one class at pixel (y, x)."""
    upper, lower = plane[rows[0, y]], plane[rows[1, y]]
    left, right = columns[0, x], columns[1, x]
    a = np.float64(upper[left])
    a += column_weight[x] * (np.float64(upper[right]) - a)
    b = np.float64(lower[left])
    b += column_weight[x] * (np.float64(lower[right]) - b)
    return a + row_weight[y] * (b - a)


@numba.njit(fastmath=set(FUSED), error_model='numpy')
def _most_probable(logits, y, x, rows, columns, row_weight, column_weight):  # type: ignore[no-untyped-def]
    """Return the class of pixel (y, x), ties to the lowest."""
    best = _interpolate(logits[0], y, x, rows, columns, row_weight, column_weight)
    best_class = 0
    for c in range(1, logits.shape[0]):
        value = _interpolate(logits[c], y, x, rows, columns, row_weight, column_weight)
        if value > best:
            best = value
            best_class = c
    return best_class


@numba.njit(fastmath=set(FUSED), error_model='numpy')
def _add_block(  # type: ignore[no-untyped-def]
    logits, rows, columns, row_weight, column_weight, n, ys, xs, segment, boundary, p, sums
):
    """Add the n pixels (ys, xs) to the sums of their segments."""
    num_classes = logits.shape[0]
    best = np.full(BLOCK, -np.inf)
    second = np.full(BLOCK, -np.inf)
    total = np.zeros(BLOCK)
    weighted = np.zeros(BLOCK)
    for c in range(num_classes):
        plane = logits[c]
        for q in range(n):
            value = _interpolate(plane, ys[q], xs[q], rows, columns, row_weight, column_weight)
            p[c, q] = value
            lesser = best[q] if value > best[q] else value
            second[q] = lesser if lesser > second[q] else second[q]
            best[q] = value if value > best[q] else best[q]
    for c in range(num_classes):
        for q in range(n):
            distance = p[c, q] - best[q]
            e = _exp(distance)
            total[q] += e
            weighted[q] += e * max(distance, _SMALLEST)
            p[c, q] = e
    per_log_c = 1.0 / math.log(num_classes)
    for q in range(n):
        share = 1.0 / total[q]
        # H = log(sum e) - sum(e d) / sum(e), with d the distance to the best logit
        entropy = min(max((math.log(total[q]) - weighted[q] * share) * per_log_c, 0.0), 1.0)
        variation = 1.0 - share
        margin = variation + _exp(second[q] - best[q]) * share
        total[q] = share
        row = sums[segment[q]]
        region = np.intp(boundary[q])
        row[region] += 1.0
        row[_POSITION] += ys[q]
        row[_POSITION + 1] += xs[q]
        row[_FIRST + 3 * region] += entropy
        row[_FIRST + 3 * region + 1] += margin
        row[_FIRST + 3 * region + 2] += variation
        row[_SECOND + 3 * region] += entropy * entropy
        row[_SECOND + 3 * region + 1] += margin * margin
        row[_SECOND + 3 * region + 2] += variation * variation
    for q in range(n):
        row = sums[segment[q]]
        for c in range(num_classes):
            row[FIXED + c] += p[c, q] * total[q]


@kernel(
    array(types.float32, 3),
    array(types.int32, 2), array(types.int32, 2),
    array(types.float64, 1), array(types.float64, 1),
    array(types.int32, 2),
    array(types.uint8, 2, readonly=False), types.boolean,
    types.intp, types.intp,
    array(types.float64, 2, readonly=False),
)  # fmt: skip
def _sum_rows(  # type: ignore[no-untyped-def]
    logits, rows, columns, row_weight, column_weight, labels, semantic, complete, first, last, sums
):
    """Add the pixels of the rows first..last-1 to the sums of their segments."""
    num_classes = logits.shape[0]
    height, width = labels.shape
    ys, xs = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32)
    segment, boundary = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.uint8)
    p = np.empty((num_classes, BLOCK))
    n = 0
    for y in range(first, last):
        for x in range(width):
            if labels[y, x] == 0:
                continue
            row = sums[labels[y, x] - 1]
            on_boundary = False
            for i in range(max(y - 1, 0), min(y + 2, height)):
                for j in range(max(x - 1, 0), min(x + 2, width)):
                    if labels[i, j] == 0:
                        on_boundary = True
                        if not complete and semantic[i, j] == UNKNOWN:
                            # two threads may write the same class here, which is harmless
                            semantic[i, j] = _most_probable(
                                logits, i, j, rows, columns, row_weight, column_weight
                            )
                        row[FIXED + num_classes + semantic[i, j]] += 1.0
            ys[n], xs[n] = y, x
            segment[n], boundary[n] = labels[y, x] - 1, on_boundary
            n += 1
            if n == BLOCK:
                _add_block(logits, rows, columns, row_weight, column_weight, n, ys, xs, segment,
                           boundary, p, sums)  # fmt: skip
                n = 0
    _add_block(logits, rows, columns, row_weight, column_weight, n, ys, xs, segment, boundary, p,
               sums)  # fmt: skip


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
    count : int
        K.
    align_corners : bool
        As in torch.nn.functional.interpolate.
    semantic : ndarray of shape (H, W), uint8, or None
        Most probable classes where they are known already.

    Returns
    -------
    ndarray of shape (K, FIXED + 2C), float64

    """
    num_classes = logits.shape[0]
    width = FIXED + 2 * num_classes
    if count == 0:
        return np.zeros((0, width))
    rows = find_taps(logits.shape[1], labels.shape[0], align_corners=align_corners)
    columns = find_taps(logits.shape[2], labels.shape[1], align_corners=align_corners)
    complete = semantic is not None
    classes = semantic if semantic is not None else np.full(labels.shape, UNKNOWN, np.uint8)
    sums = np.zeros((count, width))

    def work(first: int, last: int) -> None:
        _sum_rows(
            logits, np.stack([rows.low, rows.high]), np.stack([columns.low, columns.high]),
            rows.weight, columns.weight, np.ascontiguousarray(labels), classes, complete,
            first, last, sums,
        )  # fmt: skip

    work(0, labels.shape[0])
    return sums
