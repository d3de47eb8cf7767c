"""What decides: known orders, known coefficients, and sums that must come out."""

from meta_ood_ros.core.meta_classifier import MetaClassifier
from meta_ood_ros.core.meta_models.dense_layers import DenseLayers
from meta_ood_training.meta.fitting.logistic_regression import fit_logistic_regression
from meta_ood_training.meta.fitting.neural_meta import NeuralSettings, train_neural_networks
from meta_ood_training.meta.fitting.standardization import fit_standardization
from meta_ood_training.meta.judging.explain import (
    bootstrap_coefficients,
    explain_segments,
    find_lars_path,
    score_metric_subsets,
)
import numpy as np
import pytest


def make_segments(count=600, width=8, seed=0):
    """Metric 3 decides most, metric 5 speaks against, metric 0 a little; metric 6 is constant."""
    rng = np.random.default_rng(seed)
    metrics = rng.standard_normal((count, width)) * 10.0 ** np.arange(width)
    z = metrics / 10.0 ** np.arange(width)
    labels = 2.0 * z[:, 3] - 1.0 * z[:, 5] + 0.5 * z[:, 0] + 0.3 * rng.standard_normal(count) > 0
    metrics[:, 6] = 7.5
    return metrics, labels


def make_classifier(layers, scaler, calibration=(1.0, 0.0)):
    return MetaClassifier(
        kind='logistic_regression' if len(layers) == 1 else 'neural_network',
        model=DenseLayers(layers, scaler.mean, scaler.scale),
        metric_names=tuple(f'm{one}' for one in range(len(scaler.mean))),
        entropy_threshold=0.5,
        calibration=calibration,
    )


def test_lars_finds_the_order_and_the_signs():
    lars = find_lars_path(*make_segments())
    assert lars.order[:3].tolist() == [3, 5, 0]
    assert 6 not in lars.order
    assert sorted(lars.order) == [0, 1, 2, 3, 4, 5, 7]
    assert lars.coefficients[3, -1] > 0 > lars.coefficients[5, -1]
    # the first step moves along the first metric alone
    assert np.flatnonzero(lars.coefficients[:, 1]).tolist() == [3]
    assert not lars.coefficients[6].any()


def test_lars_end_is_least_squares():
    metrics, labels = make_segments()
    lars = find_lars_path(metrics, labels)
    z = fit_standardization(metrics).apply(metrics)
    expected, *_ = np.linalg.lstsq(z, labels - labels.mean(), rcond=None)
    np.testing.assert_allclose(lars.coefficients[:, -1], expected, atol=1e-9)


def test_lars_of_metrics_that_sum_to_each_other_stays_finite():
    metrics, labels = make_segments()
    metrics[:, 7] = metrics[:, 1] + metrics[:, 2]
    lars = find_lars_path(metrics, labels)
    assert np.abs(lars.coefficients).max() <= 100.0
    assert lars.order[0] == 3


def test_bootstrap_covers_the_true_signs_and_repeats():
    metrics, labels = make_segments()
    group = np.arange(len(labels)) // 10
    one = bootstrap_coefficients(metrics, labels, group, draws=50)
    again = bootstrap_coefficients(metrics, labels, group, draws=50)
    assert one.draws == 50
    assert one.lower[3] > 0 > one.upper[5]
    assert one.lower[1] < 0 < one.upper[1]
    np.testing.assert_array_equal(one.lower, again.lower)
    z = fit_standardization(metrics).apply(metrics)
    np.testing.assert_allclose(one.coefficient, fit_logistic_regression(z, labels)[:-1])


def test_bootstrap_draws_of_one_class_are_left_out():
    metrics, labels = make_segments(40)
    # one group holds all true segments, the other all false: half of the draws hold both
    one = bootstrap_coefficients(metrics, labels, labels.astype(int), draws=200)
    assert 60 < one.draws < 140
    assert np.isfinite(one.lower).all()


def test_one_group_says_nothing_about_others():
    metrics, labels = make_segments(60)
    one = bootstrap_coefficients(metrics, labels, np.zeros(60, int), draws=5)
    assert np.isnan([one.lower, one.upper]).all()
    assert np.isfinite(one.coefficient).all()


def test_contributions_of_logistic_regression_are_coefficient_times_z():
    metrics, labels = make_segments()
    scaler = fit_standardization(metrics)
    z = scaler.apply(metrics)
    weights = fit_logistic_regression(z, labels)
    classifier = make_classifier(((weights[None, :-1], weights[-1:]),), scaler, (0.5, -0.25))
    explained = explain_segments(classifier, metrics[:20], scaler.mean)
    np.testing.assert_allclose(explained.values, 0.5 * weights[:-1] * z[:20], atol=1e-12)
    assert explained.base == pytest.approx(0.5 * weights[-1] - 0.25)
    np.testing.assert_allclose(explained.base + explained.values.sum(axis=1), explained.logit)
    probability = 1 / (1 + np.exp(-explained.logit))
    np.testing.assert_allclose(classifier.predict(metrics[:20]), probability, atol=1e-6)


def test_contributions_of_the_network_sum_to_its_logit():
    metrics, labels = make_segments()
    scaler = fit_standardization(metrics)
    z = scaler.apply(metrics)
    layers = train_neural_networks([z], [labels], NeuralSettings(epochs=10))[0]
    explained = explain_segments(make_classifier(layers, scaler), metrics[:50], scaler.mean)
    total = explained.base + explained.values.sum(axis=1)
    np.testing.assert_allclose(total, explained.logit, atol=2e-3 * np.abs(explained.logit).max())
    # the metric that decides most contributes most, on average
    assert np.argmax(np.abs(explained.values).mean(axis=0)) == 3


def test_first_metrics_of_the_path_carry_the_ranking():
    metrics, labels = make_segments()
    fold = np.arange(len(labels)) % 4
    order = find_lars_path(metrics, labels).order
    scores = score_metric_subsets(
        metrics, labels, fold, order, [1, 3, 7], neural=NeuralSettings(epochs=15)
    )
    assert scores.counts == (1, 3, 7)
    linear = [one.auroc for one in scores.logistic_regression]
    assert 0.8 < linear[0] < linear[1]
    assert abs(linear[2] - linear[1]) < 0.01
    assert scores.neural_network[1].auroc > 0.95
