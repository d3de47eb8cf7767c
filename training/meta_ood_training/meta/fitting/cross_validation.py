"""Segments and their groups -> out-of-fold logits of each kind of meta classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meta_ood_training.meta.fitting.gradient_boosting import BoostingSettings, grow_trees
from meta_ood_training.meta.fitting.logistic_regression import fit_logistic_regression
from meta_ood_training.meta.fitting.neural_meta import (
    NeuralSettings,
    predict_neural_network,
    train_neural_networks,
)
from meta_ood_training.meta.fitting.standardization import (
    check_training_segments,
    fit_standardization,
    Standardization,
)
import numpy as np


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """
    What a classifier says about segments that it was not fitted on.

    Parameters
    ----------
    logit : ndarray of shape (K,), float64
        Of true OoD.
    fold : ndarray of shape (K,), int64
        The fold in which a segment was held out.
    gap : ndarray of shape (N, K), bool, or None
        Segments that fold n was not fitted on either.
    one_class_folds : int
        Folds whose other segments were all true or all false. No classifier can be fitted
        there: their logit is the log odds of (true + 1) to (false + 1) in the fit part.

    """

    logit: np.ndarray
    fold: np.ndarray
    gap: np.ndarray | None
    one_class_folds: int


def assign_folds(
    group: np.ndarray, is_true_ood: np.ndarray, folds: int, *, seed: int = 0
) -> np.ndarray:
    """
    Deal whole groups into folds of similar size, true and false segments alike.

    Parameters
    ----------
    group : ndarray of shape (K,), int64
        Group numbers.
    is_true_ood : ndarray of shape (K,), bool
        True segments are the positive class.
    folds : int
        At most as many folds are made as there are groups; at least 2 of either are needed.

    Returns
    -------
    ndarray of shape (K,), int64
        The fold of each segment.

    Raises
    ------
    ValueError
        Fewer than two groups or folds.

    """
    names, index = np.unique(group, return_inverse=True)
    folds = min(folds, len(names))
    if folds < 2:
        raise ValueError(
            f'grouped cross-validation needs at least 2 groups and folds, got {len(names)} groups '
            f'and {folds} folds. Add images of other places; or pass --group-by image, which '
            'judges too well where neighbouring images repeat; or extract a recording again in '
            'more groups: segments --block-seconds 2.'
        )
    size = np.stack(
        [np.bincount(index[is_true_ood == truth], minlength=len(names)) for truth in (True, False)]
    )
    share = size / np.maximum(size.sum(axis=1, keepdims=True), 1)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-share.sum(axis=0)[order], kind='stable')]
    load = np.zeros((2, folds))
    fold_of_group = np.zeros(len(names), dtype=np.int64)
    for one in order:
        # the fold that stays the most even in both classes takes the next largest group
        cost = ((load + share[:, one, None]) ** 2 - load**2).sum(axis=0)
        chosen = int(np.argmin(cost))
        fold_of_group[one] = chosen
        load[:, chosen] += share[:, one]
    return fold_of_group[index]


def cross_validate(
    metrics: np.ndarray,
    is_true_ood: np.ndarray,
    fold: np.ndarray,
    *,
    gap: np.ndarray | None = None,
    kind: str = 'logistic_regression',
    strength: float = 1.0,
    neural: NeuralSettings | None = None,
    boosting: BoostingSettings | None = None,
    leaky_scaler: bool = False,
    columns: np.ndarray | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> OutOfFold:
    """
    Fit on all folds but one and predict that one, for every fold.

    Parameters
    ----------
    metrics : ndarray of shape (K, D), float64
        Segment metrics, not standardised.
    is_true_ood : ndarray of shape (K,), bool
        True segments are the positive class.
    fold : ndarray of shape (K,), int64
        In which each segment is held out.
    gap : ndarray of shape (N, K), bool, optional
        Segments too near to those held out in fold n to be fitted on (see `find_gaps`).
    columns : ndarray of int, optional
        Metrics to use; default all.

    """
    check_training_segments(metrics, is_true_ood)
    if columns is not None:
        metrics = metrics[:, columns]
    everything = fit_standardization(metrics)
    logit = np.empty(len(metrics))
    numbers = np.unique(fold)
    scalers: dict[int, Standardization] = {}
    fitted_on = {
        number: (fold != number) & (True if gap is None else ~gap[number]) for number in numbers
    }
    one_class = 0
    for number, kept in fitted_on.items():
        true = int(is_true_ood[kept].sum())
        if true in (0, int(kept.sum())):
            one_class += 1
            logit[fold == number] = np.log((true + 1) / (kept.sum() - true + 1))
        else:
            scalers[number] = everything if leaky_scaler else fit_standardization(metrics[kept])
    fit_part = {
        number: (scaler.apply(metrics[fitted_on[number]]), is_true_ood[fitted_on[number]])
        for number, scaler in scalers.items()
    }
    held_out = {
        number: scaler.apply(metrics[fold == number]) for number, scaler in scalers.items()
    }
    if kind == 'logistic_regression':
        start = fit_logistic_regression(everything.apply(metrics), is_true_ood, strength=strength)
        for number, (z, labels) in fit_part.items():
            weights = fit_logistic_regression(z, labels, strength=strength, start=start)
            logit[fold == number] = held_out[number] @ weights[:-1] + weights[-1]
    elif kind == 'neural_network':
        if fit_part:
            trained = train_neural_networks(
                [z for z, _ in fit_part.values()],
                [labels for _, labels in fit_part.values()],
                neural,
                on_step=on_step,
            )
            for number, layers in zip(fit_part, trained, strict=True):
                logit[fold == number] = predict_neural_network(held_out[number], layers)
    elif kind == 'gradient_boosting':
        for done, (number, (z, labels)) in enumerate(fit_part.items(), start=1):
            kept = fitted_on[number]
            near = None if gap is None else gap[:, kept]
            trees = grow_trees(z, labels, fold[kept], gap=near, settings=boosting)
            logit[fold == number] = trees.logits(held_out[number])
            if on_step is not None:
                on_step(done, len(fit_part))
    else:
        raise ValueError(
            "kind must be 'logistic_regression', 'neural_network' or 'gradient_boosting', got "
            f'{kind!r}. '
            'These are the classifiers that a bundle can hold.'
        )
    return OutOfFold(logit, fold, gap, one_class)
