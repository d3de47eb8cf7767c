"""Grouped cross-validation against scikit-learn fold by fold."""

from meta_ood_training.meta.fitting.cross_validation import (
    assign_folds,
    cross_validate,
)
from meta_ood_training.meta.fitting.neural_meta import (
    NeuralSettings,
    predict_neural_network,
    train_neural_networks,
)
from meta_ood_training.meta.fitting.standardization import fit_standardization
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def make_segments(count=120, width=6, seed=0):
    rng = np.random.default_rng(seed)
    metrics = np.exp(rng.standard_normal((count, width)))
    labels = metrics[:, 0] + 0.5 * rng.standard_normal(count) > 1.2
    return metrics, labels, rng.integers(0, 15, count)


@pytest.mark.parametrize('leaky', [True, False])
def test_logistic_regression_equals_scikit_learn_in_every_fold(leaky):
    metrics, labels, group = make_segments()
    fold = assign_folds(group, labels, 5)
    result = cross_validate(metrics, labels, fold, leaky_scaler=leaky)
    for number in range(5):
        kept = fold != number
        model = LogisticRegression(solver='liblinear', tol=1e-12, max_iter=2000)
        if leaky:
            z = StandardScaler().fit_transform(metrics)
            expected = model.fit(z[kept], labels[kept]).decision_function(z[~kept])
        else:
            pipeline = make_pipeline(StandardScaler(), model).fit(metrics[kept], labels[kept])
            expected = pipeline.decision_function(metrics[~kept])
        np.testing.assert_allclose(result.logit[~kept], expected, atol=1e-5)
    assert result.one_class_folds == 0


def test_neural_network_equals_training_on_each_fold_alone():
    metrics, labels, group = make_segments()
    fold = assign_folds(group, labels, 3)
    settings = NeuralSettings(epochs=2, seed=4)
    result = cross_validate(metrics, labels, fold, kind='neural_network', neural=settings)
    for number in range(3):
        kept = fold != number
        scaler = fit_standardization(metrics[kept])
        alone = train_neural_networks(
            [scaler.apply(metrics[kept])],
            [labels[kept]],
            NeuralSettings(epochs=2, seed=4 + number),
        )[0]
        expected = predict_neural_network(scaler.apply(metrics[~kept]), alone)
        np.testing.assert_allclose(result.logit[~kept], expected, atol=1e-4)


def test_groups_stay_whole_and_folds_are_even():
    _, labels, group = make_segments(600)
    fold = assign_folds(group, labels, 5)
    for one in np.unique(group):
        assert len(np.unique(fold[group == one])) == 1
    for truth in (True, False):
        size = np.bincount(fold[labels == truth], minlength=5)
        assert size.min() > 0.7 * size.max()


def test_fewer_groups_than_folds():
    labels = np.array([True, False] * 4)
    fold = assign_folds(np.array([0, 0, 0, 1, 1, 1, 2, 2]), labels, 10)
    assert sorted(np.unique(fold)) == [0, 1, 2]


def test_one_group_is_refused():
    with pytest.raises(ValueError, match=r'at least 2 groups and folds, got 1 groups .*by image'):
        assign_folds(np.zeros(4, int), np.array([True, False] * 2), 10)


def test_fold_whose_rest_has_one_class_gets_its_log_odds():
    metrics, labels = np.arange(8.0)[:, None], np.array([True, True] + [False] * 6)
    fold = np.array([0, 0, 1, 1, 1, 2, 2, 2])
    result = cross_validate(metrics, labels, fold)
    assert result.one_class_folds == 1
    np.testing.assert_allclose(result.logit[:2], np.log((0 + 1) / (6 + 1)))
    assert result.logit[2] > result.logit[7]


@pytest.mark.parametrize('kind', ['logistic_regression', 'neural_network'])
def test_segments_in_a_gap_do_not_reach_the_fold(kind):
    metrics, labels, _ = make_segments()
    fold = np.arange(len(labels)) % 2
    gap = np.zeros((2, len(labels)), dtype=bool)
    gap[0, 1:40:2] = True
    settings = NeuralSettings(epochs=1)
    result = cross_validate(metrics, labels, fold, gap=gap, kind=kind, neural=settings)
    changed = metrics.copy()
    changed[gap[0]] = 100.0
    again = cross_validate(changed, labels, fold, gap=gap, kind=kind, neural=settings)
    # not equal: the search for the minimum starts at that of all segments
    np.testing.assert_allclose(again.logit[fold == 0], result.logit[fold == 0], atol=1e-4)
    without = cross_validate(metrics, labels, fold, kind=kind, neural=settings)
    assert np.abs(without.logit - result.logit)[fold == 0].max() > 1e-3


def test_unknown_kind_is_refused():
    metrics, labels, group = make_segments()
    with pytest.raises(ValueError, match=r"'neural_network' or 'gradient_boosting', got 'forest'"):
        cross_validate(metrics, labels, group, kind='forest')
