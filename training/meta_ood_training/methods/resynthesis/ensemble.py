"""The weights of a sum of score maps with the highest AP, by grid search."""

from collections.abc import Iterator

from meta_ood_training.scores import measure_scores, ScoreHistogram
import numpy as np


def simplex(parts: int, steps: int) -> Iterator[tuple[int, ...]]:
    """Yield all `parts` counts of at least 0 whose sum is `steps`, in rising order."""
    if parts == 1:
        yield (steps,)
        return
    for first in range(steps + 1):
        for rest in simplex(parts - 1, steps - first):
            yield (first, *rest)


def search_weights(
    scores: np.ndarray, is_ood: np.ndarray, *, steps: int
) -> tuple[np.ndarray, float]:
    """
    Return the weights whose weighted sum of scores has the highest AP.

    Parameters
    ----------
    scores : ndarray of shape (P, N), float32
        P scores of N pixels, each in [0, 1].
    is_ood : ndarray of shape (N,), bool
        At least one of both kinds.
    steps : int
        Weights are multiples of 1 / steps and add up to 1.

    Returns
    -------
    weights : ndarray of shape (P,), float32
        The first of equals in the order of `simplex`.
    average_precision : float
        In [0, 1].

    """
    best, best_weights = -1.0, np.zeros(len(scores), np.float32)
    for counts in simplex(len(scores), steps):
        weights = np.array(counts, np.float32) / np.float32(steps)
        histogram = ScoreHistogram()
        histogram.update(weights @ scores, is_ood)
        found = measure_scores(histogram.counts()).average_precision
        if found > best:
            best, best_weights = found, weights
    return best_weights, best
