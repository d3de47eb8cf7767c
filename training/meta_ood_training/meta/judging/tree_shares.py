"""Boosted trees -> what each metric of a segment adds to its logit, against another segment."""

from __future__ import annotations

from collections.abc import Iterator
from math import factorial

from meta_ood_ros.core.meta_models.boosted_trees import BoostedTrees, LEAF
import numpy as np

# feature -> the values that lead on: above the first, up to the second
_Path = dict[int, tuple[float, float]]


def share_logits(trees: BoostedTrees, metrics: np.ndarray, average: np.ndarray) -> np.ndarray:
    """
    Return the Shapley values of the metrics where those not yet known are the average's.

    Parameters
    ----------
    metrics : ndarray of shape (K, D), float64
        One row a segment.
    average : ndarray of shape (D,), float64
        The segment that they are compared with.

    Returns
    -------
    ndarray of shape (K, D), float64
        Exact: each row adds up to logit(segment) - logit(average). A leaf is reached where the
        a metrics that only the segment's value lets pass are known and the b that only the
        average's lets pass are not, which has a closed form (Sundararajan & Najmi 2020).

    """
    shares = np.zeros(metrics.shape)
    for value, path in _leaves(trees):
        columns = list(path)
        low, high = np.array(list(path.values())).T
        own = (metrics[:, columns] > low) & (metrics[:, columns] <= high)
        others = (average[columns] > low) & (average[columns] <= high)
        known, unknown = own & ~others, ~own & others
        a, b = known.sum(axis=1), unknown.sum(axis=1)
        reached = (own | others).all(axis=1)
        # (a - 1)! b! / (a + b)! for one that must be known, -a! (b - 1)! / (a + b)! for the others
        gain, loss = _weights(len(columns))
        weight = known * gain[a, b][:, None] - unknown * loss[a, b][:, None]
        shares[:, columns] += np.where(reached[:, None], value * weight, 0.0)
    return shares


def _weights(most: int) -> tuple[np.ndarray, np.ndarray]:
    gain = np.zeros((most + 1, most + 1))
    for a in range(1, most + 1):
        for b in range(most + 1 - a):
            gain[a, b] = factorial(a - 1) * factorial(b) / factorial(a + b)
    return gain, gain.T


def _leaves(trees: BoostedTrees) -> Iterator[tuple[float, _Path]]:
    """Give each leaf that a question leads to: its value, and the bounds on the way."""
    ways: list[tuple[int, _Path]] = [(int(root), {}) for root in trees.roots]
    while ways:
        node, path = ways.pop()
        feature = int(trees.features[node])
        if feature == LEAF:
            if path:
                yield float(trees.values[node]), path
            continue
        low, high = path.get(feature, (-np.inf, np.inf))
        threshold = float(trees.thresholds[node])
        left, right = (int(one) for one in trees.children[node])
        ways.append((left, {**path, feature: (low, min(high, threshold))}))
        ways.append((right, {**path, feature: (max(low, threshold), high)}))
