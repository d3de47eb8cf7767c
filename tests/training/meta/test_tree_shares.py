"""Shapley values of trees against their definition: every order in which metrics become known."""

from itertools import permutations

from meta_ood_training.meta.fitting.gradient_boosting import BoostingSettings, grow_trees
from meta_ood_training.meta.judging.tree_shares import share_logits
import numpy as np
import pytest


@pytest.fixture(scope='module')
def grown():
    rng = np.random.default_rng(0)
    metrics = rng.standard_normal((400, 4))
    truth = metrics[:, 0] * metrics[:, 1] + metrics[:, 2] + rng.standard_normal(400) > 1
    settings = BoostingSettings(
        leaves=(16,), trees=(20,), segments_of_a_leaf=5, share_of_metrics=1.0
    )
    return grow_trees(metrics, truth, np.arange(400) % 3, settings=settings), metrics


def test_shares_are_the_mean_gain_over_all_orders(grown):
    trees, metrics = grown
    average = metrics.mean(axis=0)
    rows = metrics[:12]
    expected = np.zeros((12, 4))
    orders = list(permutations(range(4)))
    for order in orders:
        known = np.tile(average, (12, 1))
        before = trees.logits(known)
        for column in order:
            known[:, column] = rows[:, column]
            after = trees.logits(known)
            expected[:, column] += (after - before) / len(orders)
            before = after
    np.testing.assert_allclose(share_logits(trees, rows, average), expected, atol=1e-12)


def test_shares_add_up_and_are_nothing_for_the_average_itself(grown):
    trees, metrics = grown
    average = metrics.mean(axis=0)
    shares = share_logits(trees, metrics, average)
    gained = trees.logits(metrics) - trees.logits(average[None])
    np.testing.assert_allclose(shares.sum(axis=1), gained, atol=1e-9)
    np.testing.assert_array_equal(share_logits(trees, average[None], average), np.zeros((1, 4)))
