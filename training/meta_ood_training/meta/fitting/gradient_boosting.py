"""Segment metrics -> boosted trees, as many and as large as held-out folds want them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from meta_ood_ros.core.meta_models.boosted_trees import BoostedTrees, LEAF
import numpy as np
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

# a judgement of the size needs few folds: whole ones of the protocol are joined
_INNER_FOLDS = 3
# most need no more than the second number of trees: the others are tried where these do not do
_FIRST_TRIED = 2


@dataclass(frozen=True)
class BoostingSettings:
    """
    How trees are grown, and the sizes to choose from.

    Parameters
    ----------
    leaves : tuple of int
        Of a tree at most.
    trees : tuple of int
        Ascending.
    bins : int
        Values of a metric between which a question can lie.
    l2 : float
        Added to the second derivatives of a leaf.
    share_of_metrics : float
        Drawn anew for each question.
    seed : int
        Of these draws.

    """

    leaves: tuple[int, ...] = (4, 8)
    trees: tuple[int, ...] = (25, 50, 75, 100, 150)
    learning_rate: float = 0.1
    depth: int = 5
    segments_of_a_leaf: int = 20
    l2: float = 1.0
    bins: int = 63
    share_of_metrics: float = 0.3
    seed: int = 0


def grow_trees(
    metrics: np.ndarray,
    is_true_ood: np.ndarray,
    fold: np.ndarray,
    *,
    gap: np.ndarray | None = None,
    settings: BoostingSettings | None = None,
) -> BoostedTrees:
    """
    Fit boosted trees whose size is chosen by folds of the same segments.

    Parameters
    ----------
    metrics : ndarray of shape (K, D), float64
        Standardised or not: only their order matters. Finite.
    is_true_ood : ndarray of shape (K,), bool
        Both classes.
    fold : ndarray of shape (K,), int64
        What is held out together; with one fold only, or where no part without some of them
        has both classes, the smallest size is taken.
    gap : ndarray of shape (N, K), bool, optional
        Segments that are not fitted on where fold n is held out.

    Notes
    -----
    Histogram gradient boosting of scikit-learn. On one thread its sums have one order: the same
    segments, folds and seed give the same bytes.

    """
    settings = settings or BoostingSettings()
    with threadpool_limits(1, user_api='openmp'):
        leaves, trees = _choose_size(metrics, is_true_ood, fold, gap, settings)
        model = _new_model(leaves, trees, settings).fit(metrics, is_true_ood)
    return read_trees(model, metrics)


def _choose_size(
    metrics: np.ndarray,
    is_true_ood: np.ndarray,
    fold: np.ndarray,
    gap: np.ndarray | None,
    settings: BoostingSettings,
) -> tuple[int, int]:
    """Return leaves of a tree and number of trees with the lowest held-out log loss."""
    parts = [
        (kept, held_out)
        for kept, held_out in _inner_folds(fold, gap)
        if 0 < is_true_ood[kept].sum() < kept.sum()
    ]
    chosen, lowest = (settings.leaves[0], settings.trees[0]), np.inf
    if len(settings.leaves) == len(settings.trees) == 1:
        return chosen
    for leaves in settings.leaves if parts else ():
        for tried in (settings.trees[:_FIRST_TRIED], settings.trees):
            losses = np.sum(
                [_losses(metrics, is_true_ood, part, leaves, tried, settings) for part in parts],
                axis=0,
            )
            best = int(np.argmin(losses))
            if best < len(tried) - 1:  # beyond the lowest it only rises
                break
        if losses[best] < lowest:
            chosen, lowest = (leaves, tried[best]), float(losses[best])
    return chosen


def _losses(
    metrics: np.ndarray,
    is_true_ood: np.ndarray,
    part: tuple[np.ndarray, np.ndarray],
    leaves: int,
    tried: tuple[int, ...],
    settings: BoostingSettings,
) -> list[float]:
    """Return the sum of log losses of what is held out, for each number of trees."""
    kept, held_out = part
    model = _new_model(leaves, tried[-1], settings).fit(metrics[kept], is_true_ood[kept])
    truth = is_true_ood[held_out]
    return [
        float(np.logaddexp(0.0, np.where(truth, -logit, logit)).sum())
        for trees, logit in enumerate(model.staged_decision_function(metrics[held_out]), start=1)
        if trees in tried
    ]


def _inner_folds(
    fold: np.ndarray, gap: np.ndarray | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give the segments to fit on and those held out, (K,) bool each; nothing for one fold."""
    numbers = np.unique(fold)
    for first in range(min(_INNER_FOLDS, len(numbers)) if len(numbers) > 1 else 0):
        joined = numbers[first::_INNER_FOLDS]
        held_out = np.isin(fold, joined)
        kept = ~held_out if gap is None else ~held_out & ~gap[joined].any(axis=0)
        yield kept, held_out


def _new_model(
    leaves: int, trees: int, settings: BoostingSettings
) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=trees,
        max_leaf_nodes=leaves,
        max_depth=settings.depth,
        learning_rate=settings.learning_rate,
        min_samples_leaf=settings.segments_of_a_leaf,
        l2_regularization=settings.l2,
        max_bins=settings.bins,
        max_features=settings.share_of_metrics,
        early_stopping=False,
        random_state=settings.seed,
    )


def read_trees(model: HistGradientBoostingClassifier, metrics: np.ndarray) -> BoostedTrees:
    """
    Return the trees of a fitted model, (K, D) metrics at hand to see that they are the same.

    Raises
    ------
    RuntimeError
        This scikit-learn keeps its trees otherwise: they have no public door.

    """
    trees = [stage[0].nodes for stage in model._predictors]
    roots = np.cumsum([0, *(len(one) for one in trees)])[:-1]
    nodes = np.concatenate(trees)
    leaf = nodes['is_leaf'].astype(bool)
    first = np.repeat(roots, [len(one) for one in trees])
    children = np.stack([nodes['left'], nodes['right']], axis=1).astype(np.int64)
    read = BoostedTrees(
        prior=float(model._baseline_prediction.item()),
        roots=roots,
        features=np.where(leaf, LEAF, nodes['feature_idx']),
        thresholds=np.where(leaf, 0.0, nodes['num_threshold']),
        children=np.where(leaf[:, None], 0, children + first[:, None]),
        values=np.where(leaf, nodes['value'], 0.0),
    )
    if not np.allclose(read.logits(metrics), model.decision_function(metrics), atol=1e-9):
        raise RuntimeError(
            'trees of scikit-learn must give its own logits, got others from '
            f'{sklearn.__version__}. Install the version in requirements.txt.'
        )
    return read
