"""Segment metrics -> z-scores; a constant column becomes zeros."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Standardization:
    """
    The shift and scale of each segment metric.

    Parameters
    ----------
    mean, scale : ndarray of shape (D,), float64
        Mean and population standard deviation; the scale of a constant column is 1.
    constant : ndarray of shape (D,), bool
        Columns without variation: their z-score is 0, so no classifier can use them.

    """

    mean: np.ndarray
    scale: np.ndarray
    constant: np.ndarray

    def apply(self, metrics: np.ndarray) -> np.ndarray:
        """Return the z-scores, shape (K, D), float64."""
        z = (metrics - self.mean) / self.scale
        # the rounding of the mean must not look like a signal
        z[:, self.constant] = 0.0
        return z


def fit_standardization(metrics: np.ndarray) -> Standardization:
    """
    Return mean and population standard deviation of each column.

    Parameters
    ----------
    metrics : ndarray of shape (K, D), float64
        At least one row; finite.

    """
    count = len(metrics)
    mean = metrics.mean(axis=0)
    variance = metrics.var(axis=0)
    epsilon = np.finfo(np.float64).eps
    constant = variance <= count * epsilon * variance + (count * mean * epsilon) ** 2
    return Standardization(mean, np.where(constant, 1.0, np.sqrt(variance)), constant)


def check_training_segments(
    metrics: np.ndarray, is_true_ood: np.ndarray, *, names: Sequence[str] = ()
) -> None:
    """
    Refuse segments that no classifier can be fitted on.

    Parameters
    ----------
    metrics : ndarray of shape (K, D), float64
        One row a segment, not standardised.
    is_true_ood : ndarray of shape (K,), bool
        True segments are the positive class.

    Raises
    ------
    ValueError
        No segment, one class only, or a metric that is not finite.

    """
    if metrics.ndim != 2 or len(metrics) != len(is_true_ood):
        raise ValueError(
            f'metrics must have shape (K, D) and is_true_ood (K,), got {metrics.shape} and '
            f'{is_true_ood.shape}. Pass one row a segment.'
        )
    if len(metrics) == 0:
        raise ValueError(
            'a meta classifier needs segments, got none. Lower the entropy threshold or add '
            'images.'
        )
    bad = ~np.isfinite(metrics)
    if bad.any():
        numbers = np.flatnonzero(bad.any(axis=0)).tolist()
        columns = [names[one] if names else str(one) for one in numbers]
        raise ValueError(
            f'segment metrics must be finite, got {int(bad.any(axis=1).sum())} of {len(metrics)} '
            f'rows with NaN or infinity in columns {", ".join(columns[:5])}. Extract them again, '
            'or pass --drop-incomplete to leave those rows out.'
        )
    positives = int(np.count_nonzero(is_true_ood))
    if positives in (0, len(metrics)):
        raise ValueError(
            f'a meta classifier needs true and false segments, got {positives} true and '
            f'{len(metrics) - positives} false. Add images '
            f'{"without" if positives else "with"} OoD objects, or change the entropy threshold.'
        )
