"""Leave-one-segment-out against scikit-learn refitted for every fold."""

from meta_ood_training.meta.fitting import logistic_regression
from meta_ood_training.meta.fitting.leave_one_out import leave_one_out
from meta_ood_training.meta.fitting.logistic_regression import (
    fit_logistic_regression,
    predict_logistic_regression,
)
from meta_ood_training.meta.fitting.standardization import fit_standardization
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler


def make_segments(count: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return skewed, correlated metrics of very different scale, and noisy labels."""
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((count, 5))
    metrics = np.exp(0.4 * (base @ rng.standard_normal((5, width))))
    metrics = metrics * 10.0 ** rng.integers(-5, 5, width)
    labels = rng.random(count) < 1 / (1 + np.exp(1 - 2 * base[:, 0]))
    return metrics, labels


def brute_force(
    metrics: np.ndarray, labels: np.ndarray, folds: np.ndarray, leaky: bool, strength: float = 1.0
) -> np.ndarray:
    """Refit scikit-learn's liblinear for each left-out segment."""
    predictions = []
    for fold in folds:
        kept = np.arange(len(metrics)) != fold
        scaler = StandardScaler().fit(metrics if leaky else metrics[kept])
        model = LogisticRegression(solver='liblinear', tol=1e-12, max_iter=2000, C=strength)
        model.fit(scaler.transform(metrics[kept]), labels[kept])
        predictions.append(model.predict_proba(scaler.transform(metrics[[fold]]))[0, 1])
    return np.array(predictions)


@pytest.mark.parametrize('leaky', [True, False])
@pytest.mark.parametrize(('count', 'width'), [(30, 6), (60, 45), (400, 12), (1500, 20)])
def test_agrees_with_refitting_scikit_learn_for_each_fold(count, width, leaky):
    metrics, labels = make_segments(count, width)
    folds = np.random.default_rng(1).permutation(count)[:20]

    result = leave_one_out(metrics, labels, leaky_scaler=leaky)

    expected = brute_force(metrics, labels, folds, leaky)
    np.testing.assert_allclose(result.probability[folds], expected, rtol=0, atol=1e-6)
    assert result.logit_error <= 1e-8


@pytest.mark.parametrize('strength', [0.01, 100.0])
def test_agrees_for_another_strength(strength):
    metrics, labels = make_segments(120, 8)
    folds = np.arange(0, 120, 7)
    result = leave_one_out(metrics, labels, strength=strength, folds=folds)
    expected = brute_force(metrics, labels, folds, False, strength)
    np.testing.assert_allclose(result.probability, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(result.folds, folds)


@pytest.mark.parametrize('leaky', [True, False])
def test_columns_that_are_constant_or_live_in_one_segment_only(leaky):
    # neighbour_share of a rare class is 0 but for one segment: without it the column is constant
    metrics, labels = make_segments(50, 5)
    metrics[:, 1] = 0.1
    metrics[:, 3] = 0.0
    metrics[17, 3] = 0.25
    folds = np.arange(50)
    result = leave_one_out(metrics, labels, leaky_scaler=leaky)
    expected = brute_force(metrics, labels, folds, leaky)
    np.testing.assert_allclose(result.probability, expected, rtol=0, atol=1e-6)


def test_separable_segments_and_an_outlier_fall_back_to_fits_of_their_own():
    metrics, labels = make_segments(24, 4, seed=3)
    metrics[5] = metrics.mean(axis=0) * 1000
    folds = np.arange(24)
    result = leave_one_out(metrics, labels, strength=1e3)
    assert result.refitted > 0
    expected = brute_force(metrics, labels, folds, False, 1e3)
    np.testing.assert_allclose(result.probability, expected, rtol=0, atol=1e-6)


def test_only_true_segment_left_out_is_predicted_from_false_ones():
    # scikit-learn refuses one class; the penalised minimum exists and says "false"
    metrics, labels = make_segments(20, 3)
    labels[:] = False
    labels[4] = True
    result = leave_one_out(metrics, labels)
    assert result.probability[4] < 0.2


def test_two_segments_by_hand():
    # one segment remains, its z-score is 0: min w^2/2 + log(1 + exp(w)) has w = -sigmoid(w)
    result = leave_one_out(np.array([[3.0], [5.0]]), np.array([True, False]))
    weight = -0.4010581375415
    assert abs(weight + 1 / (1 + np.exp(-weight))) < 1e-12
    sigmoid = 1 / (1 + np.exp(-weight))
    np.testing.assert_allclose(result.probability, [sigmoid, 1 - sigmoid], atol=1e-9)


def test_full_fit_equals_scikit_learn_and_its_gradient_vanishes():
    metrics, labels = make_segments(800, 30)
    z = fit_standardization(metrics).apply(metrics)
    weights = fit_logistic_regression(z, labels)
    model = LogisticRegression(solver='liblinear', tol=1e-12, max_iter=2000).fit(z, labels)
    np.testing.assert_allclose(weights[:-1], model.coef_[0], atol=2e-6)
    np.testing.assert_allclose(weights[-1], model.intercept_[0], atol=2e-6)
    residual = predict_logistic_regression(z, weights) - labels
    gradient = weights + np.append(z.T @ residual, residual.sum())
    assert np.abs(gradient).max() < 1e-9


def test_start_does_not_change_the_minimum():
    metrics, labels = make_segments(100, 6)
    z = fit_standardization(metrics).apply(metrics)
    far = fit_logistic_regression(z, labels, start=np.full(7, 30.0))
    np.testing.assert_allclose(far, fit_logistic_regression(z, labels), atol=1e-9)


def test_z_scores_that_are_not_finite_are_refused():
    z = np.array([[np.nan], [1.0]])
    with pytest.raises(ValueError, match=r'z-scores must be finite, got 1 that are not\. Leave'):
        fit_logistic_regression(z, np.array([True, False]))


def test_newton_steps_that_run_out_are_an_error(monkeypatch):
    monkeypatch.setattr(logistic_regression, '_MAX_STEPS', 1)
    metrics, labels = make_segments(50, 4)
    z = fit_standardization(metrics).apply(metrics)
    with pytest.raises(RuntimeError, match=r'must converge within 1 Newton steps, got .* Lower C'):
        fit_logistic_regression(z, labels)


def test_standardization_equals_scikit_learn_with_constant_columns():
    metrics, _ = make_segments(40, 4)
    metrics[:, 2] = 0.1
    scaler = fit_standardization(metrics)
    np.testing.assert_allclose(
        scaler.apply(metrics), StandardScaler().fit_transform(metrics), atol=1e-12
    )
    np.testing.assert_array_equal(scaler.constant, [False, False, True, False])
    assert not scaler.apply(metrics + 1.0)[:, 2].any()


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        ([True] * 5, r'true and false segments, got 5 true and 0 false\. Add images without'),
        ([False] * 5, r'true and false segments, got 0 true and 5 false\. Add images with OoD'),
    ],
)
def test_one_class_is_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        leave_one_out(np.arange(10.0).reshape(5, 2), np.array(labels))


def test_no_segment_and_wrong_shapes_are_refused():
    with pytest.raises(
        ValueError, match=r'needs segments, got none\. Lower the entropy threshold'
    ):
        leave_one_out(np.zeros((0, 3)), np.zeros(0, dtype=bool))
    with pytest.raises(ValueError, match=r'must have shape \(K, D\).*got \(3, 2\) and \(4,\)'):
        leave_one_out(np.zeros((3, 2)), np.zeros(4, dtype=bool))


def test_metrics_that_are_not_finite_are_refused_with_their_columns():
    metrics, labels = make_segments(10, 3)
    metrics[2, 1] = np.nan
    metrics[3, 1] = np.inf
    with pytest.raises(ValueError, match=r'got 2 of 10 rows .* columns 1\. Extract'):
        leave_one_out(metrics, labels)
