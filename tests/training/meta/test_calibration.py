"""Calibration and operating points against closed forms and exhaustive search."""

from meta_ood_training.meta.fitting.calibration import (
    choose_operating_point,
    cross_calibrate,
    fit_calibration,
    measure_reliability,
)
from meta_ood_training.meta.judging.segment_errors import count_errors
from meta_ood_training.segments.loading import load_segment_set
import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression


@pytest.fixture(scope='module')
def segments(make_segments):
    return load_segment_set([make_segments(60, seed=3, separation=1.0)], 0.5)


def test_reliability_by_hand():
    curve = measure_reliability(
        np.array([0.05, 0.15, 0.12, 1.0]), np.array([False, True, False, True])
    )
    np.testing.assert_array_equal(curve.count, [1, 2, 0, 0, 0, 0, 0, 0, 0, 1])
    assert curve.predicted[1] == pytest.approx(0.135)
    assert curve.observed[1] == 0.5
    assert curve.ece == pytest.approx((0.05 + 2 * (0.5 - 0.135) + 0.0) / 4)


def test_reliability_of_nothing():
    assert np.isnan(measure_reliability(np.zeros(0), np.zeros(0, bool)).ece)


def test_calibration_undoes_a_known_distortion():
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 2, 20_000)
    labels = rng.random(20_000) < expit(0.5 * logit - 1.0)
    slope, intercept = fit_calibration(logit, labels)
    assert slope == pytest.approx(0.5, abs=0.03)
    assert intercept == pytest.approx(-1.0, abs=0.05)


def test_calibration_equals_scikit_learn_without_penalty_up_to_platts_targets():
    rng = np.random.default_rng(1)
    logit = rng.normal(0, 1, 5000)
    labels = rng.random(5000) < expit(1.7 * logit + 0.3)
    model = LogisticRegression(C=np.inf, tol=1e-10).fit(logit[:, None], labels)
    slope, intercept = fit_calibration(logit, labels)
    assert slope == pytest.approx(model.coef_[0, 0], rel=3e-3)
    assert intercept == pytest.approx(model.intercept_[0], abs=3e-3)


@pytest.mark.parametrize(('count', 'separation'), [(8, 0.5), (300, 2.0), (5000, 1.0)])
def test_calibration_is_where_the_likelihood_of_platts_targets_is_flat(count, separation):
    rng = np.random.default_rng(count)
    labels = np.arange(count) % 3 == 0
    logit = rng.normal(0, 1, count) + separation * labels
    slope, intercept = fit_calibration(logit, labels)
    true = labels.sum()
    target = np.where(labels, (true + 1) / (true + 2), 1 / (count - true + 2))
    residual = expit(slope * logit + intercept) - target
    assert residual.sum() == pytest.approx(0, abs=1e-6 * count)
    assert (residual * logit).sum() == pytest.approx(0, abs=1e-6 * count)


def test_calibration_stays_finite_on_separated_logits_and_ignores_a_far_outlier():
    logit = np.r_[np.linspace(-3, -1, 50), np.linspace(1, 3, 50)]
    labels = np.arange(100) >= 50
    slope, _ = fit_calibration(logit, labels)
    assert 0 < slope < 50
    with_outlier = fit_calibration(np.r_[logit, -500.0], np.r_[labels, True])
    clipped = fit_calibration(np.r_[logit, -8.0], np.r_[labels, True])
    assert with_outlier == clipped


def test_calibration_never_turns_the_classifier_round():
    logit = np.linspace(-2, 2, 40)
    assert fit_calibration(logit, logit < 0) == (1.0, 0.0)
    equal = np.full(9, 0.3)
    assert fit_calibration(equal, np.arange(9) < 3) == (1.0, 0.0)


def test_calibration_across_folds_uses_the_other_folds_only():
    rng = np.random.default_rng(2)
    logit = rng.normal(0, 1, 300)
    labels = rng.random(300) < expit(logit)
    fold = np.arange(300) % 3
    before = cross_calibrate(logit, labels, fold)
    changed = labels.copy()
    changed[fold == 1] = ~changed[fold == 1]
    after = cross_calibrate(logit, changed, fold)
    np.testing.assert_array_equal(before[fold == 1], after[fold == 1])
    assert np.abs(before[fold == 0] - after[fold == 0]).max() > 1e-3


def every_cut(segments, logit):
    """Yield every distinct cut with its errors, counted by the slow way."""
    values = np.unique(logit)
    for cut in [-np.inf, *((values[1:] + values[:-1]) / 2)]:
        yield cut, count_errors(segments, logit >= cut)


def test_largest_f1_is_found(segments):
    logit = segments.metrics[:, 5]
    point = choose_operating_point(segments, logit)
    best = max(errors.f1 for _, errors in every_cut(segments, logit))
    errors = count_errors(segments, logit >= point.logit)
    assert point.f1 == pytest.approx(best)
    assert errors.f1 == pytest.approx(best)
    assert (errors.false_positives, errors.missed_objects) == (
        point.false_positives,
        point.missed_objects,
    )


@pytest.mark.parametrize('bound', [0.0, 0.1, 0.5])
def test_bound_on_missed_objects(segments, bound):
    logit = segments.metrics[:, 5]
    never = count_errors(segments).missed_objects
    found = len(segments.object_frame) - never
    point = choose_operating_point(segments, logit, rule='max_missed', bound=bound)
    allowed = [
        cut
        for cut, errors in every_cut(segments, logit)
        if errors.missed_objects - never <= bound * found
    ]
    assert point.logit == max(allowed)
    assert point.rule == f'max_missed {bound:g}'


@pytest.mark.parametrize('bound', [0.0, 0.2, 1.0, 100.0])
def test_bound_on_false_segments_an_image(segments, bound):
    logit = segments.metrics[:, 5]
    point = choose_operating_point(segments, logit, rule='max_false', bound=bound)
    allowed = [
        cut
        for cut, errors in every_cut(segments, logit)
        if errors.false_positives <= bound * len(segments.frame_name)
    ]
    assert point.logit == min(allowed)


def test_nothing_may_be_false_but_the_surest_segment_is(segments):
    logit = np.where(segments.is_true_ood, 0.0, 1.0)
    point = choose_operating_point(segments, logit, rule='max_false', bound=0.0)
    assert point.logit == np.inf
    assert point.missed_objects == len(segments.object_frame)


def test_choice_on_some_images_ignores_the_others(segments):
    logit = segments.metrics[:, 5].copy()
    frames = np.arange(len(segments.frame_name)) % 2 == 0
    before = choose_operating_point(segments, logit, frames=frames)
    logit[~frames[segments.segment_frame]] += 100.0
    assert choose_operating_point(segments, logit, frames=frames) == before


def test_no_segments_keep_the_even_odds(segments):
    nothing = segments.without(np.ones(len(segments), bool))
    point = choose_operating_point(nothing, np.zeros(0))
    assert (point.logit, point.missed_objects) == (0.0, len(segments.object_frame))


def test_unknown_rule_is_refused(segments):
    with pytest.raises(ValueError, match=r'max_f1, max_missed, max_false, got .best.'):
        choose_operating_point(segments, np.zeros(len(segments)), rule='best')
