"""Segment metrics -> logits, by decision trees whose leaves add up (gradient boosting)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from meta_ood_ros.core.meta_models.finite_arrays import check_finite, FIT_AGAIN
import numpy as np

#: The feature of a leaf.
LEAF = -1
#: Deeper trees are refused: a damaged file could make every image slow.
DEEPEST = 32
# 256 segments x 200 trees of int64 are 400 kB: they stay in the cache
_SEGMENTS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class BoostedTrees:
    """
    Trees of one forest, node behind node, each tree's root first and parents before children.

    At a node a segment goes to the first child where metrics[feature] <= threshold, else to the
    second; the logit is prior + the values of the leaves that it reaches.

    Parameters
    ----------
    prior : float
        Logit before the first tree.
    roots : ndarray of shape (T,), int
        First node of each tree, ascending from 0; T >= 1.
    features : ndarray of shape (N,), int
        Column that a node asks for, LEAF for a leaf.
    thresholds : ndarray of shape (N,), float64
        Of its question; 0 for a leaf.
    children : ndarray of shape (N, 2), int
        Behind the node, in the same tree, each child of one node; 0 for a leaf.
    values : ndarray of shape (N,), float64
        What a leaf adds; 0 for a node that asks.

    """

    prior: float
    roots: np.ndarray
    features: np.ndarray
    thresholds: np.ndarray
    children: np.ndarray
    values: np.ndarray

    def check(self, metric_names: Sequence[str]) -> None:
        """Refuse nodes that are no trees over these metrics."""
        nodes = len(self.features)
        shapes = [(nodes,), (nodes,), (nodes, 2), (nodes,)]
        got = [one.shape for one in (self.features, self.thresholds, self.children, self.values)]
        if got != shapes or self.roots.ndim != 1:
            raise ValueError(
                f'trees of a meta classifier must have arrays of shape {shapes}, got {got}. '
                f'{FIT_AGAIN}'
            )
        check_finite({
            'prior': self.prior, 'thresholds of the trees': self.thresholds,
            'leaves of the trees': self.values,
        })  # fmt: skip
        with np.errstate(over='ignore'):
            largest = abs(self.prior) + np.abs(self.values).sum()
        check_finite({'sum of the leaves of the trees': largest})
        self._check_nodes(len(metric_names))

    def _check_nodes(self, width: int) -> None:
        wholes = {'roots': self.roots, 'features': self.features, 'children': self.children}
        for name, array in wholes.items():
            if array.dtype.kind not in 'iu':
                raise _no_trees(f'whole numbers as {name}', str(array.dtype))
        nodes, roots = len(self.features), self.roots.astype(np.int64)
        if (
            not np.array_equal(roots[:1], [0])
            or (np.diff(roots) <= 0).any()
            or (roots >= nodes).any()
        ):
            raise _no_trees(f'roots that ascend from 0 to below {nodes}', _some(roots))
        features = self.features.astype(np.int64)
        wrong = (features < LEAF) | (features >= width)
        if wrong.any():
            raise _no_trees(f'features from {LEAF} to {width - 1}', _some(features[wrong]))
        inner = features != LEAF
        ends = np.repeat(np.append(roots[1:], nodes), np.diff(np.append(roots, nodes)))
        children = self.children.astype(np.int64)[inner]
        place = np.arange(nodes)[inner, None]
        wrong = (children <= place) | (children >= ends[inner, None])
        if wrong.any():
            raise _no_trees('children behind their parent, in its tree', _some(children[wrong]))
        parents = np.bincount(children.ravel(), minlength=nodes)
        parents[roots] += 1
        if (parents != 1).any():
            raise _no_trees('one parent for each node', _some(parents[parents != 1]))
        if self.depth > DEEPEST:
            raise _no_trees(f'at most {DEEPEST} questions to a leaf', 'more')

    @cached_property
    def depth(self) -> int:
        """Return the most questions on the way to a leaf; DEEPEST + 1 stands for any above."""
        asked = np.zeros(len(self.features), dtype=bool)
        asked[self.roots] = True
        for depth in range(DEEPEST + 1):
            inner = asked & (self.features != LEAF)
            if not inner.any():
                return depth
            asked = np.zeros_like(asked)
            asked[self.children[inner]] = True
        return DEEPEST + 1

    @cached_property
    def _steps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return features, thresholds and flat children with which a leaf leads to itself."""
        leaf = self.features == LEAF
        itself = np.arange(len(self.features))[:, None]
        children = np.where(leaf[:, None], itself, self.children)
        return (
            np.where(leaf, 0, self.features).astype(np.int64),
            np.where(leaf, 0.0, self.thresholds),
            children.ravel().astype(np.int64),
        )

    def leaves(self, metrics: np.ndarray) -> np.ndarray:
        """Return the node at which each segment ends in each tree, (K, T) int64."""
        features, thresholds, children = self._steps
        flat = np.ascontiguousarray(metrics).ravel()
        row = np.arange(len(metrics))[:, None] * metrics.shape[1]
        node = np.repeat(self.roots.astype(np.int64)[None], len(metrics), axis=0)
        for _ in range(self.depth):
            right = flat.take(features.take(node) + row) > thresholds.take(node)
            node = children.take(2 * node + right)
        return node

    def logits(self, metrics: np.ndarray) -> np.ndarray:
        """Return the logits, (K,) float64, of metrics (K, D) float64; NaN where one is NaN."""
        logits = np.full(len(metrics), float(self.prior))
        for begin in range(0, len(metrics), _SEGMENTS_AT_ONCE):
            rows = slice(begin, begin + _SEGMENTS_AT_ONCE)
            logits[rows] += self.values.take(self.leaves(metrics[rows])).sum(axis=1)
        # a comparison would send them to one side, and nobody would hear of it
        logits[np.isnan(metrics).any(axis=1)] = np.nan
        return logits


def _some(numbers: np.ndarray) -> str:
    return str(numbers.ravel()[:5].tolist())


def _no_trees(expected: str, got: str) -> ValueError:
    return ValueError(f'trees of a meta classifier must have {expected}, got {got}. {FIT_AGAIN}')
