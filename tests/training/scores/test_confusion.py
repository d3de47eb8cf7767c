"""Confusion counts against a hand-counted image and scikit-learn."""

from meta_ood_training.datasets import IGNORED, IN_DISTRIBUTION, OOD
from meta_ood_training.scores import ConfusionCounts
import numpy as np
import pytest
from sklearn.metrics import jaccard_score


def test_mean_iou_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    counts = ConfusionCounts(5)
    target = rng.integers(0, 5, (4, 30, 40)).astype(np.uint8)
    semantic = np.where(rng.random(target.shape) < 0.6, target, rng.integers(0, 5, target.shape))
    target[:, :5] = IGNORED
    target[:, 5:7] = IN_DISTRIBUTION
    target[:, 7:9] = OOD
    for one, truth in zip(semantic.astype(np.uint8), target, strict=True):
        counts.update(one, np.zeros(truth.shape, np.float32), truth)
    used = target < 5
    expected = jaccard_score(target[used], semantic[used], average=None, labels=range(5))
    np.testing.assert_allclose(counts.iou(), expected)
    assert counts.mean_iou() == pytest.approx(expected.mean())


def test_iou_over_threshold_by_hand():
    counts = ConfusionCounts(2, thresholds=(0.5, 1.0))
    # target   0 0 1 1 OoD, predicted 0 1 1 1 0, entropy .1 .5 .2 .6 .4
    counts.update(
        np.array([[0, 1, 1, 1, 0]], np.uint8),
        np.array([[0.1, 0.5, 0.2, 0.6, 0.4]], np.float32),
        np.array([[0, 0, 1, 1, OOD]], np.uint8),
    )
    assert counts.mean_iou() == pytest.approx((1 / 2 + 2 / 3) / 2)
    # t = 0.5: pixels 2 and 4 become OoD. Class 0: hit 1, labelled 2, predicted 1.
    # Class 1: hit 1, labelled 2, predicted 1. t = 1: nobody reaches it.
    np.testing.assert_allclose(counts.mean_iou_over_threshold(), [1 / 2, (1 / 2 + 2 / 3) / 2])
    assert counts.mean_iou_over_threshold()[-1] == counts.mean_iou()


def test_equivalent_predictions_are_hits():
    counts = ConfusionCounts(3, equivalent_predictions={1: 2})
    counts.update(
        np.array([[1, 2, 0]], np.uint8),
        np.zeros((1, 3), np.float32),
        np.array([[2, 2, 0]], np.uint8),
    )
    np.testing.assert_array_equal(counts.iou(), [1, np.nan, 1])
    assert counts.mean_iou() == 1


def test_a_data_set_without_classes_has_no_iou():
    counts = ConfusionCounts(3)
    target = np.full((2, 2), IN_DISTRIBUTION, np.uint8)
    counts.update(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.float32), target)
    assert np.isnan(counts.mean_iou())
