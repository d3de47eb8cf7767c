"""Boosted trees against scikit-learn, and their size against every one that was possible."""

from meta_ood_ros.core.meta_classifier import MetaClassifier
from meta_ood_ros.core.meta_models.boosted_trees import LEAF
from meta_ood_training.meta.fitting.cross_validation import cross_validate
from meta_ood_training.meta.fitting.fit import fit_meta_classifier, MetaFitSettings
from meta_ood_training.meta.fitting.gradient_boosting import (
    BoostingSettings,
    grow_trees,
    read_trees,
)
from meta_ood_training.meta.fitting.left_out_segments import predict_left_out_segments
from meta_ood_training.meta.judging.explain import explain_segments
from meta_ood_training.segments.loading import load_segment_set
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss

FEW = BoostingSettings(leaves=(2, 4), trees=(1, 4, 16), segments_of_a_leaf=5)


def make_segments(count=300, width=6, seed=0):
    """Return metrics and truth that no linear logit gives: two of them must be alike in sign."""
    rng = np.random.default_rng(seed)
    metrics = rng.standard_normal((count, width)) * [1, 10, 100, 0.1, 3, 1]
    truth = metrics[:, 0] * metrics[:, 1] + rng.standard_normal(count) > 2
    return metrics, truth, rng.integers(0, 5, count)


def number_of(trees):
    leaves = np.add.reduceat(trees.features == LEAF, trees.roots)
    return len(trees.roots), int(leaves.max())


@pytest.mark.parametrize('leaves', [2, 16])
def test_the_served_trees_are_those_of_scikit_learn(leaves):
    metrics, truth, _ = make_segments()
    model = HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=leaves, early_stopping=False
    ).fit(metrics, truth)
    trees = read_trees(model, metrics)
    unseen = np.concatenate([make_segments(seed=1)[0], np.zeros((2, 6)), metrics[:2]])
    unseen[-4], unseen[-3] = np.inf, -np.inf
    np.testing.assert_allclose(trees.logits(unseen), model.decision_function(unseen), atol=1e-12)
    logit = trees.logits(unseen)
    probability = model.predict_proba(unseen)[:, 1]
    np.testing.assert_allclose(1 / (1 + np.exp(-logit)), probability, atol=1e-12)
    served = MetaClassifier('gradient_boosting', trees, tuple('abcdef'), 0.5)
    np.testing.assert_allclose(served.predict(unseen), probability, atol=1e-7)


def test_trees_of_a_library_that_keeps_them_otherwise_are_refused():
    metrics, truth, _ = make_segments(60)
    model = HistGradientBoostingClassifier(max_iter=3).fit(metrics, truth)
    model._baseline_prediction = model._baseline_prediction + 1
    model.decision_function = lambda _: 0.0
    with pytest.raises(RuntimeError, match='must give its own logits, .* Install the version in'):
        read_trees(model, metrics)


def test_the_size_is_that_of_the_lowest_held_out_loss():
    metrics, truth, fold = make_segments()
    fold = fold % 3
    losses = {}
    for leaves in FEW.leaves:
        for count in FEW.trees:
            losses[count, leaves] = 0.0
            for number in range(3):
                kept = fold != number
                model = HistGradientBoostingClassifier(
                    max_iter=count, max_leaf_nodes=leaves, max_depth=5, learning_rate=0.1,
                    min_samples_leaf=5, l2_regularization=1.0, max_bins=63, max_features=0.3,
                    early_stopping=False, random_state=0,
                ).fit(metrics[kept], truth[kept])  # fmt: skip
                losses[count, leaves] += log_loss(
                    truth[~kept], model.predict_proba(metrics[~kept]), normalize=False
                )
    trees = grow_trees(metrics, truth, fold, settings=FEW)
    assert number_of(trees) == min(losses, key=losses.get) == (16, 4)


def test_nothing_to_learn_takes_the_fewest_trees():
    metrics, truth, fold = make_segments()
    noise = np.random.default_rng(7).permutation(truth)
    assert number_of(grow_trees(metrics, noise, fold, settings=FEW))[0] == 1


@pytest.mark.parametrize('case', ['one fold', 'one class without each fold', 'all within the gap'])
def test_without_a_fold_to_hold_out_the_smallest_size_is_taken(case):
    metrics, truth, fold = make_segments()
    gap = None
    if case == 'one fold':
        fold = np.zeros_like(fold)
    elif case == 'one class without each fold':
        fold = np.where(truth, 0, 1)
    else:
        gap = np.ones((5, len(fold)), dtype=bool)
    trees = grow_trees(metrics, truth, fold, gap=gap, settings=FEW)
    assert number_of(trees) == (1, 2)


def test_cross_validation_grows_them_on_each_fold_alone():
    metrics, truth, fold = make_segments()
    result = cross_validate(metrics, truth, fold, kind='gradient_boosting', boosting=FEW)
    for number in range(5):
        kept = fold != number
        alone = grow_trees(metrics[kept], truth[kept], fold[kept], settings=FEW)
        # of z-scores the bins lie where they lay, but for rounding
        np.testing.assert_allclose(result.logit[~kept], alone.logits(metrics[~kept]), atol=1e-6)
    linear = cross_validate(metrics, truth, fold).logit
    assert log_loss(truth, 1 / (1 + np.exp(-result.logit))) < log_loss(
        truth, 1 / (1 + np.exp(-linear))
    )


def test_the_same_seed_gives_the_same_bytes_and_another_other_trees():
    metrics, truth, fold = make_segments()
    made = [
        grow_trees(
            metrics, truth, fold, settings=BoostingSettings(leaves=(8,), trees=(8,), seed=seed)
        )
        for seed in (3, 3, 4)
    ]
    arrays = [
        b''.join(getattr(one, name).tobytes() for name in ('features', 'thresholds', 'values'))
        for one in made
    ]
    assert arrays[0] == arrays[1] != arrays[2]


@pytest.fixture(scope='module')
def fit(make_segments):
    segments = load_segment_set([make_segments(60, separation=3.0)], 0.5)
    segments.metrics[:, 9] = 0.1 + 1e-17 * np.arange(len(segments))  # constant but for rounding
    settings = MetaFitSettings(boosting=FEW, folds=4, ignored_metrics=('centroid_*',))
    return segments, fit_meta_classifier(segments, 'gradient_boosting', settings)


def test_what_is_constant_or_ignored_decides_nothing(fit):
    segments, fitted = fit
    asked = {segments.metric_names[one] for one in fitted.classifier.model.features if one >= 0}
    assert {segments.metric_names[5], segments.metric_names[7]} & asked
    assert segments.metric_names[9] not in asked
    assert not [name for name in asked if name.startswith('centroid_')]
    assert fitted.classifier.kind == 'gradient_boosting'


def test_a_segment_is_explained_by_shares_that_add_up(fit):
    segments, fitted = fit
    explained = explain_segments(fitted.classifier, segments.metrics, fitted.average)
    np.testing.assert_allclose(
        explained.base + explained.values.sum(axis=1), explained.logit, atol=1e-9
    )
    slope, intercept = fitted.classifier.calibration
    expected = slope * fitted.classifier.model.logits(segments.metrics) + intercept
    np.testing.assert_allclose(explained.logit, expected)


def test_single_segments_are_not_left_out(fit):
    with pytest.raises(ValueError, match='where single segments are left out, got .*_boosting'):
        predict_left_out_segments(fit[0], 'gradient_boosting', MetaFitSettings())
