"""
Sums over the pixels of each segment -> the 37+2C segment metrics.

The one place where the metrics' formulas stand: the definition and the fast path only differ in
how they come by the sums.
"""

import math

import numpy as np
from numpy.typing import NDArray

# Columns of a table of sums (K, FIXED + 2C), float64. Plain sums are exact enough: the summed
# quantities lie in [0, 1], so mean(q^2) - mean(q)^2 is off by less than 1e-12, far below the
# 1e-7 to which variances are compared.
PIXELS = slice(0, 2)  # interior, boundary
FIRST_MOMENT = slice(2, 8)  # entropy, margin, variation of the interior, then of the boundary
SECOND_MOMENT = slice(8, 14)  # their squares
POSITION = slice(14, 16)  # row, column
FIXED = 16  # then C probabilities, then C counts of neighbours by class

QUANTITIES = ('entropy', 'margin', 'variation')
NEIGHBOURHOOD = tuple((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))


def metric_names(num_classes: int) -> tuple[str, ...]:
    """
    Return the names of the segment metrics in column order.

    Parameters
    ----------
    num_classes : int
        C, at least 2.

    Returns
    -------
    tuple of 37 + 2C str

    Examples
    --------
    >>> len(metric_names(19)), metric_names(19)[:3]
    (75, ('size', 'size_interior', 'size_boundary'))

    """
    if num_classes < 2:
        raise ValueError(
            f'num_classes must be at least 2, got {num_classes}. '
            'With one class there is no entropy to threshold.'
        )
    size = (
        'size',
        'size_interior',
        'size_boundary',
        'size_relative',
        'size_relative_interior',
    )
    regions = ('', '_interior', '_boundary', '_relative', '_relative_interior')
    return (
        *size,
        *(f'{q}_{s}{r}' for q in QUANTITIES for s in ('mean', 'variance') for r in regions),
        *(f'probability_mean_{c}' for c in range(num_classes)),
        *(f'neighbour_share_{c}' for c in range(num_classes)),
        'centroid_row',
        'centroid_column',
    )


def to_metric_values(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Return the metrics that belong to a table of sums.

    Parameters
    ----------
    sums : ndarray of shape (K, FIXED + 2C), float64
        One row a segment, columns as named above.

    Returns
    -------
    ndarray of shape (K, 37 + 2C), float64
        Columns in the order of `metric_names`.

    """
    num_classes = (sums.shape[1] - FIXED) // 2
    interior, boundary = sums[:, PIXELS].T
    size = interior + boundary
    # a segment that fills the image has no boundary: as if it were one pixel long
    per_boundary = 1.0 / np.maximum(boundary, 1.0)
    size_relative, size_relative_interior = size * per_boundary, interior * per_boundary
    values = [size, interior, boundary, size_relative, size_relative_interior]
    first = sums[:, FIRST_MOMENT].reshape(-1, 2, 3)
    second = sums[:, SECOND_MOMENT].reshape(-1, 2, 3)
    for q in range(len(QUANTITIES)):
        moments = [
            _mean_and_variance(first[:, :, q].sum(1), second[:, :, q].sum(1), size),
            _mean_and_variance(first[:, 0, q], second[:, 0, q], interior),
            _mean_and_variance(first[:, 1, q], second[:, 1, q], boundary),
        ]
        for whole, inside, border in zip(*moments, strict=True):  # the means, then the variances
            values += [whole, inside, border, whole * size_relative]
            values += [inside * size_relative_interior]
    probability = sums[:, FIXED : FIXED + num_classes] / size[:, None]
    neighbours = sums[:, FIXED + num_classes :]
    share = neighbours / np.maximum(neighbours.sum(1, keepdims=True), 1.0)
    centroid = sums[:, POSITION] / size[:, None]
    return np.concatenate([np.stack(values, 1), probability, share, centroid], 1)


def sum_over_segments(
    probabilities: NDArray[np.floating], labels: NDArray[np.int32], count: int
) -> NDArray[np.float64]:
    """
    Return the table of sums, from the full probabilities: the definition, in plain numpy.

    Parameters
    ----------
    probabilities : ndarray of shape (C, H, W), float32 or float64 in [0, 1]
        Softmax of every pixel.
    labels : ndarray of shape (H, W), int32
        0 or the id of a segment, 1..count.

    Returns
    -------
    ndarray of shape (K, FIXED + 2C), float64

    """
    num_classes, height, width = probabilities.shape
    rows, columns = np.nonzero(labels)
    segment = labels[rows, columns] - 1
    p = probabilities[:, rows, columns].astype(np.float64)

    on_boundary = np.zeros(len(rows), bool)
    neighbours = np.zeros(count * num_classes)
    semantic = probabilities.argmax(0)
    for i, j in NEIGHBOURHOOD:
        y, x = rows + i, columns + j
        in_image = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        y, x = np.where(in_image, y, rows), np.where(in_image, x, columns)
        outside = in_image & (labels[y, x] == 0)
        on_boundary |= outside
        pair = segment[outside] * num_classes + semantic[y[outside], x[outside]]
        neighbours += np.bincount(pair, minlength=count * num_classes)

    log_p = np.log(p, out=np.zeros_like(p), where=p > 0.0)  # p log p -> 0 for p -> 0
    entropy = np.clip(-(p * log_p).sum(0) / math.log(num_classes), 0.0, 1.0)
    second, best = np.partition(p, num_classes - 2, axis=0)[-2:]
    quantities = (entropy, 1.0 - best + second, 1.0 - best)

    sums = np.zeros((count, FIXED + 2 * num_classes))

    def add(column: int, values: NDArray, where: NDArray[np.bool_] | slice) -> None:
        weights = np.broadcast_to(values, segment.shape)[where]
        sums[:, column] = np.bincount(segment[where], weights, minlength=count)

    for region, where in enumerate((~on_boundary, on_boundary)):
        add(PIXELS.start + region, np.ones(1), where)
        for q, quantity in enumerate(quantities):
            add(FIRST_MOMENT.start + 3 * region + q, quantity, where)
            add(SECOND_MOMENT.start + 3 * region + q, quantity**2, where)
    add(POSITION.start, rows, slice(None))
    add(POSITION.start + 1, columns, slice(None))
    for c in range(num_classes):
        add(FIXED + c, p[c], slice(None))
    sums[:, FIXED + num_classes :] = neighbours.reshape(count, num_classes)
    return sums


def _mean_and_variance(
    first: NDArray[np.float64], second: NDArray[np.float64], pixels: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and population variance, 0 where there is no pixel."""
    share = 1.0 / np.maximum(pixels, 1.0)
    mean = first * share
    return mean, np.maximum(second * share - mean**2, 0.0)
