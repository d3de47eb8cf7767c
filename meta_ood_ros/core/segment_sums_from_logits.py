"""
Low-resolution logits and labels -> sums over the pixels of each segment, on the CPU.

Logits are interpolated and put through the softmax on the pixels of segments only, 64 at a time
and in float64: at 5 % OoD pixels this is less work than the float32 pass over all pixels.
"""

import math

from meta_ood_ros.core.interpolation import find_taps
from meta_ood_ros.core.jit import (
    array,
    bits_to_float,
    float_to_bits,
    FUSED,
    kernel,
    REORDERED,
)
from meta_ood_ros.core.parallel import count_workers, run_workers
from meta_ood_ros.core.raster import find_set
from meta_ood_ros.core.segment_sums import FIRST_MOMENT, FIXED, POSITION, SECOND_MOMENT
import numba
from numba import types
import numpy as np
from numpy.typing import NDArray

BLOCK = 64  # pixels worked on together; their probabilities (19 classes: 10 KB) stay in cache
STRIP = 8  # rows that a thread takes at a time
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
def _lerp(a, b, t):  # type: ignore[no-untyped-def]
    """Return a + t (b - a) in float64."""
    return np.float64(a) + t * (np.float64(b) - np.float64(a))


@numba.njit(fastmath=set(FUSED), error_model='numpy')
def _most_probable(logits, corner, right, down, row_weight, column_weight):  # type: ignore[no-untyped-def]
    """Return the class of one pixel, ties to the lowest."""
    best = -np.inf
    best_class = 0
    for c in range(logits.shape[0]):
        value = _lerp(
            _lerp(logits[c, corner], logits[c, corner + right], column_weight),
            _lerp(logits[c, corner + down], logits[c, corner + down + right], column_weight),
            row_weight,
        )
        if value > best:
            best, best_class = value, c
    return best_class


@numba.njit(fastmath=set(FUSED), error_model='numpy')
def _softmax(logits, corner, right, down, weights, n, p, best, second, total, weighted):  # type: ignore[no-untyped-def]
    """
    Fill p with exp(logit - best logit) of the block's first n pixels, and their statistics.

    total is the sum of p, weighted that of p times the distance to the best logit.
    """
    best[:] = -np.inf
    second[:] = -np.inf
    total[:] = 0.0
    weighted[:] = 0.0
    for c in range(logits.shape[0]):
        for q in range(n):
            i, r, d = corner[q], right[q], down[q]
            value = _lerp(
                _lerp(logits[c, i], logits[c, i + r], weights[1, q]),
                _lerp(logits[c, i + d], logits[c, i + d + r], weights[1, q]),
                weights[0, q],
            )
            p[c, q] = value
            lesser = best[q] if value > best[q] else value
            second[q] = lesser if lesser > second[q] else second[q]
            best[q] = value if value > best[q] else best[q]
    for c in range(logits.shape[0]):
        for q in range(n):
            distance = p[c, q] - best[q]
            e = _exp(distance)
            p[c, q] = e
            total[q] += e
            weighted[q] += e * max(distance, _SMALLEST)


@numba.njit(fastmath=set(REORDERED), error_model='numpy')
def _add_probabilities(p, total, segment, n, sums):  # type: ignore[no-untyped-def]
    """Add the probabilities to the sums, one run of pixels of one segment after another."""
    start = 0
    while start < n:
        stop = start + 1
        while stop < n and segment[stop] == segment[start]:
            stop += 1
        for c in range(p.shape[0]):
            total_c = 0.0
            for q in range(start, stop):
                total_c += p[c, q] * total[q]
            sums[segment[start], FIXED + c] += total_c
        start = stop


@numba.njit(fastmath=set(FUSED), error_model='numpy')
def _add_moments(best, second, total, weighted, per_log_c, segment, region, n, sums):  # type: ignore[no-untyped-def]
    """Add the block's entropy, margin and variation; total becomes the best probability."""
    for q in range(n):
        share = 1.0 / total[q]
        # H = log(sum e) - sum(e d) / sum(e), with d the distance to the best logit
        entropy = min(max((math.log(total[q]) - weighted[q] * share) * per_log_c, 0.0), 1.0)
        variation = 1.0 - share
        margin = variation + _exp(second[q] - best[q]) * share
        total[q] = share
        k, i = segment[q], 3 * region[q]
        sums[k, _FIRST + i] += entropy
        sums[k, _FIRST + i + 1] += margin
        sums[k, _FIRST + i + 2] += variation
        sums[k, _SECOND + i] += entropy * entropy
        sums[k, _SECOND + i + 1] += margin * margin
        sums[k, _SECOND + i + 2] += variation * variation


@kernel(
    array(types.float32, 2), types.intp,
    array(types.int32, 1), array(types.int32, 1), array(types.float64, 1),
    array(types.int32, 1), array(types.int32, 1), array(types.float64, 1),
    array(types.int32, 2), array(types.int32, 1), array(types.uint64, 1),
    array(types.uint8, 2), array(types.uint8, 2, readonly=False),
    types.intp, types.intp,
    array(types.float64, 2, readonly=False),
)  # fmt: skip
def _sum_strips(  # type: ignore[no-untyped-def]
    logits, in_width, row_low, row_high, row_weight, col_low, col_high, col_weight,
    labels, flat, words, semantic, classes, worker, workers, sums,
):  # fmt: skip
    """
    Add the pixels of every workers-th strip of rows to the sums of their segments.

    The classes of neighbours are those of semantic; where it is empty they are computed when
    needed and kept in classes, which begins as UNKNOWN.
    """
    num_classes = logits.shape[0]
    height, width = labels.shape
    per_log_c = 1.0 / math.log(num_classes)
    corner, right, down = (
        np.empty(BLOCK, np.intp),
        np.empty(BLOCK, np.intp),
        np.empty(BLOCK, np.intp),
    )
    weights = np.empty((2, BLOCK))
    segment, region = np.empty(BLOCK, np.intp), np.empty(BLOCK, np.intp)
    p = np.empty((num_classes, BLOCK))
    best, second = np.empty(BLOCK), np.empty(BLOCK)
    total, weighted = np.empty(BLOCK), np.empty(BLOCK)
    n = 0
    for top in range(worker * STRIP, height, workers * STRIP):
        end = min(top + STRIP, height) * width
        position = find_set(flat, words, top * width, end)
        while position < end:
            y, x = position // width, position % width
            k = labels[y, x] - 1
            on_boundary = 0
            for i in range(max(y - 1, 0), min(y + 2, height)):
                for j in range(max(x - 1, 0), min(x + 2, width)):
                    if labels[i, j] == 0:
                        on_boundary = 1
                        if semantic.size > 0:
                            c = np.intp(semantic[i, j])
                        else:
                            c = np.intp(classes[i, j])
                            if c == UNKNOWN:
                                c = _most_probable(
                                    logits, row_low[i] * in_width + col_low[j],
                                    col_high[j] - col_low[j],
                                    (row_high[i] - row_low[i]) * in_width,
                                    row_weight[i], col_weight[j],
                                )  # fmt: skip
                                # two threads may write here at once, but the same class
                                classes[i, j] = c
                        sums[k, FIXED + num_classes + c] += 1.0
            sums[k, on_boundary] += 1.0
            sums[k, _POSITION] += y
            sums[k, _POSITION + 1] += x
            corner[n] = row_low[y] * in_width + col_low[x]
            right[n] = col_high[x] - col_low[x]
            down[n] = (row_high[y] - row_low[y]) * in_width
            weights[0, n], weights[1, n] = row_weight[y], col_weight[x]
            segment[n], region[n] = k, on_boundary
            n += 1
            position = find_set(flat, words, position + 1, end)
            if n == BLOCK:
                _softmax(logits, corner, right, down, weights, n, p, best, second, total, weighted)
                _add_moments(best, second, total, weighted, per_log_c, segment, region, n, sums)
                _add_probabilities(p, total, segment, n, sums)
                n = 0
    _softmax(logits, corner, right, down, weights, n, p, best, second, total, weighted)
    _add_moments(best, second, total, weighted, per_log_c, segment, region, n, sums)
    _add_probabilities(p, total, segment, n, sums)


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
    num_classes, in_height, in_width = logits.shape
    numbers = FIXED + 2 * num_classes
    if count == 0:
        return np.zeros((0, numbers))
    height, width = labels.shape
    rows = find_taps(in_height, height, align_corners=align_corners)
    columns = find_taps(in_width, width, align_corners=align_corners)
    labels = np.ascontiguousarray(labels)
    flat = labels.reshape(-1)
    words = flat[: flat.size // 2 * 2].view(np.uint64)
    if semantic is None:
        known, classes = np.empty((0, 0), np.uint8), np.full(labels.shape, UNKNOWN, np.uint8)
    else:
        known, classes = np.ascontiguousarray(semantic), np.empty((0, 0), np.uint8)
    workers = count_workers(-(-height // STRIP))
    workers = max(1, min(workers, TABLE_NUMBERS // (count * numbers)))
    # one table a worker, added in their order: the last bits are the same at every run
    tables = np.zeros((workers, count, numbers))

    def work(worker: int) -> None:
        _sum_strips(
            logits.reshape(num_classes, -1), in_width, rows.low, rows.high, rows.weight,
            columns.low, columns.high, columns.weight, labels, flat, words, known, classes,
            worker, workers, tables[worker],
        )  # fmt: skip

    _sum_strips.compile()  # once, before several threads would wait for it
    run_workers(work, workers)
    return tables.sum(0)
