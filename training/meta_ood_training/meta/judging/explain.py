"""Fitted meta classifiers -> which segment metrics matter, overall and for one segment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meta_ood_ros.core.meta_classifier import MetaClassifier
from meta_ood_ros.core.meta_models.boosted_trees import BoostedTrees
from meta_ood_ros.core.meta_models.dense_layers import DenseLayers
from meta_ood_training.meta.fitting.cross_validation import cross_validate
from meta_ood_training.meta.fitting.logistic_regression import fit_logistic_regression
from meta_ood_training.meta.fitting.neural_meta import NeuralSettings
from meta_ood_training.meta.fitting.standardization import fit_standardization
from meta_ood_training.meta.judging.segment_errors import rank_segments, RankingScores
from meta_ood_training.meta.judging.tree_shares import share_logits
import numpy as np
from sklearn.linear_model import lars_path

# piecewise linear in the path: 200 midpoints leave 1e-3 of the logit, which a test checks
_PATH_STEPS = 200
# of the path, for a target of 0 and 1 and z-scores; beyond is noise
_LARGEST_COEFFICIENT = 100.0


@dataclass(frozen=True, eq=False)
class LarsPath:
    """
    Least angle regression of is_true_ood (1 true, 0 false) on the z-scores.

    Parameters
    ----------
    order : ndarray of shape (D',), int64
        Metrics in the order in which they become active; those that never do come last, in
        column order. Constant columns are left out.
    coefficients : ndarray of shape (D, S), float64
        Along the path of S steps; positive speaks for a true OoD segment.
    strength : ndarray of shape (S,), float64
        Sum of |coefficients|, the usual horizontal axis.

    """

    order: np.ndarray
    coefficients: np.ndarray
    strength: np.ndarray


def find_lars_path(metrics: np.ndarray, is_true_ood: np.ndarray) -> LarsPath:
    """
    Sort the segment metrics as figure 8 of Chan et al. and figure 3 of Runtas & Petkovic do.

    Parameters
    ----------
    metrics : ndarray of shape (K, D), float64
        One row a segment, not standardised.
    is_true_ood : ndarray of shape (K,), bool
        True segments are the positive class.

    """
    scaler = fit_standardization(metrics)
    target = is_true_ood - is_true_ood.mean()
    columns = np.flatnonzero(~scaler.constant)
    z = scaler.apply(metrics)[:, columns]
    _, active, path = lars_path(z, target, method='lar')
    # size = size_interior + size_boundary: the last steps divide by rounding
    noisy = np.abs(path).max(axis=0) > _LARGEST_COEFFICIENT
    path = path[:, : int(np.argmax(noisy)) if noisy.any() else path.shape[1]]
    first = [int(one) for one in active]
    rest = [one for one in range(len(columns)) if one not in set(first)]
    coefficients = np.zeros((metrics.shape[1], path.shape[1]))
    coefficients[columns] = path
    return LarsPath(
        order=columns[np.array(first + rest, dtype=np.int64)],
        coefficients=coefficients,
        strength=np.abs(coefficients).sum(axis=0),
    )


@dataclass(frozen=True, eq=False)
class CoefficientIntervals:
    """
    Coefficients of the logistic regression for z-scores, with a bootstrap over groups.

    Parameters
    ----------
    coefficient, lower, upper : ndarray of shape (D,), float64
        Positive speaks for a true OoD segment; 95 % percentile interval, NaN for fewer than two
        groups.

    """

    coefficient: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    draws: int


def bootstrap_coefficients(
    metrics: np.ndarray,
    is_true_ood: np.ndarray,
    group: np.ndarray,
    *,
    strength: float = 1.0,
    draws: int = 200,
    seed: int = 0,
) -> CoefficientIntervals:
    """
    Return coefficients and how far they move when other groups had been seen.

    Parameters
    ----------
    metrics : ndarray of shape (K, D), float64
        One row a segment, not standardised.
    is_true_ood : ndarray of shape (K,), bool
        True segments are the positive class.
    group : ndarray of shape (K,), int64
        Drawn as a whole, with replacement.

    Returns
    -------
    CoefficientIntervals
        All draws use the z-scores of the full set, so that their coefficients compare.

    """
    z = fit_standardization(metrics).apply(metrics)
    full = fit_logistic_regression(z, is_true_ood, strength=strength)
    rows = [np.flatnonzero(group == one) for one in np.unique(group)]
    rng = np.random.default_rng(seed)
    seen = []
    for _ in range(draws):
        drawn = np.concatenate([rows[one] for one in rng.integers(0, len(rows), len(rows))])
        labels = is_true_ood[drawn]
        if 0 < labels.sum() < len(labels):
            fitted = fit_logistic_regression(z[drawn], labels, strength=strength, start=full)
            seen.append(fitted[:-1])
    samples = np.array(seen) if seen and len(rows) > 1 else np.full((1, metrics.shape[1]), np.nan)
    lower, upper = np.quantile(samples, [0.025, 0.975], axis=0)
    return CoefficientIntervals(full[:-1], lower, upper, len(seen))


@dataclass(frozen=True, eq=False)
class MetricSubsetScores:
    """Algorithm 1 of Runtas & Petkovic: scores with the first N metrics of the LARS path."""

    counts: tuple[int, ...]
    logistic_regression: tuple[RankingScores, ...]
    neural_network: tuple[RankingScores, ...]


def score_metric_subsets(
    metrics: np.ndarray,
    is_true_ood: np.ndarray,
    fold: np.ndarray,
    order: np.ndarray,
    counts: Sequence[int],
    *,
    gap: np.ndarray | None = None,
    strength: float = 1.0,
    neural: NeuralSettings | None = None,
    leaky_scaler: bool = False,
    on_step: Callable[[int, int], None] | None = None,
) -> MetricSubsetScores:
    """
    Fit both classifiers on the first N metrics, for each N, and score them out of fold.

    Parameters
    ----------
    metrics : ndarray of shape (K, D), float64
        One row a segment, not standardised.
    is_true_ood : ndarray of shape (K,), bool
        True segments are the positive class.
    fold : ndarray of shape (K,), int64
        Grouped folds.
    order : ndarray of int64
        Of the LARS path.

    Returns
    -------
    MetricSubsetScores
        As published, the order comes from all segments; only the fits are out of fold.

    """
    results: dict[str, list[RankingScores]] = {'logistic_regression': [], 'neural_network': []}
    for done, count in enumerate(counts, start=1):
        for kind, scores in results.items():
            predicted = cross_validate(
                metrics,
                is_true_ood,
                fold,
                gap=gap,
                kind=kind,
                strength=strength,
                neural=neural,
                leaky_scaler=leaky_scaler,
                columns=order[:count],
            )
            scores.append(rank_segments(predicted.logit, is_true_ood))
        if on_step is not None:
            on_step(done, len(counts))
    return MetricSubsetScores(tuple(counts), *(tuple(scores) for scores in results.values()))


@dataclass(frozen=True, eq=False)
class Contributions:
    """
    Why segments got their logit.

    Parameters
    ----------
    values : ndarray of shape (K, D), float64
        What each metric adds; positive speaks for a true OoD segment.
    logit : ndarray of shape (K,), float64
        base + values.sum(axis=1), up to the integration error of the neural network.

    """

    base: float
    values: np.ndarray
    logit: np.ndarray


def explain_segments(
    classifier: MetaClassifier, metrics: np.ndarray, average: np.ndarray
) -> Contributions:
    """
    Split the logit of each segment into what its metrics contribute.

    Parameters
    ----------
    metrics : ndarray of shape (K, D), float64
        Not standardised.
    average : ndarray of shape (D,), float64
        The segment that they are compared with: the mean of those fitted on.

    Returns
    -------
    Contributions
        Of layers by integrated gradients from the average segment (Sundararajan et al. 2017): for
        logistic regression exactly coefficient x z-score. Of trees Shapley values, exactly.

    """
    slope, intercept = classifier.calibration
    metrics, model = np.asarray(metrics, dtype=np.float64), classifier.model
    if isinstance(model, BoostedTrees):
        values = share_logits(model, metrics, average)
    else:
        values = _integrate_gradients(model, metrics, average)
    base = slope * float(model.logits(average[None])[0]) + intercept
    return Contributions(base, slope * values, slope * model.logits(metrics) + intercept)


def _integrate_gradients(
    model: DenseLayers, metrics: np.ndarray, average: np.ndarray
) -> np.ndarray:
    start = (average - model.mean) / model.scale
    way = (metrics - average) / model.scale
    gradient = np.zeros_like(way)
    linear = len(model.layers) == 1
    for place in [1.0] if linear else (np.arange(_PATH_STEPS) + 0.5) / _PATH_STEPS:
        gradient += _input_gradient(model, start + place * way)
    values: np.ndarray = gradient * way / (1 if linear else _PATH_STEPS)
    return values


def _input_gradient(model: DenseLayers, z: np.ndarray) -> np.ndarray:
    activations = [z]
    for weight, bias in model.layers[:-1]:
        activations.append(np.maximum(activations[-1] @ weight.T + bias, 0.0))
    gradient = np.ones((len(z), 1))
    for index in reversed(range(len(model.layers))):
        gradient = gradient @ model.layers[index][0]
        if index:
            gradient *= activations[index] > 0
    return gradient
