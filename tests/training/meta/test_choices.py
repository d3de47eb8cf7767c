"""Choices of fit-meta: groups, entropy thresholds, how many segments are left out."""

from dataclasses import replace
from types import SimpleNamespace

from meta_ood_ros.core.bundle_files import load_bundle, save_bundle
from meta_ood_training.meta.fitting import left_out_segments
from meta_ood_training.meta.fitting.fit import MetaFitSettings, segment_groups
from meta_ood_training.meta.fitting.leave_one_out import leave_one_out
from meta_ood_training.meta.fitting.left_out_segments import predict_left_out_segments
from meta_ood_training.meta.judging.comparison import (
    choose_entropy_threshold,
    find_error_minimising_threshold,
)
from meta_ood_training.meta.reporting.report import render_markdown
from meta_ood_training.segments.loading import load_segment_set
import numpy as np
import pytest


def judged(threshold, errors, f1, siou, *, without=100, kind='logistic_regression'):
    """Stand in for a judged threshold: only its scores matter here."""
    point = {'errors': errors, 'f1': f1, 'objects_with_siou_25': siou}
    return SimpleNamespace(
        segments=SimpleNamespace(entropy_threshold=threshold),
        fits={kind: None},
        scores={kind: {'at_operating_point': point}, 'without_meta': {'errors': without}},
        problem='',
    )


@pytest.fixture
def several():
    return [
        judged(0.3, 10, 0.8, 0.5, without=90),
        judged(0.5, 10, 0.7, 0.6, without=70),
        judged(0.7, 20, 0.9, 0.4, without=80),
    ]


@pytest.mark.parametrize(('criterion', 'expected'), [('errors', 0.5), ('f1', 0.7), ('siou', 0.5)])
def test_entropy_threshold_by_criterion_ties_to_the_higher(several, criterion, expected):
    chosen = choose_entropy_threshold(several, 'logistic_regression', criterion)
    assert chosen.segments.entropy_threshold == expected


def test_error_minimising_threshold_ignores_the_classifier(several):
    assert find_error_minimising_threshold(several) == 0.5


def test_thresholds_without_a_fit_are_passed_over(several):
    several[1].fits = {}
    chosen = choose_entropy_threshold(several, 'logistic_regression', 'errors')
    assert chosen.segments.entropy_threshold == 0.3


def test_nothing_fitted_and_unknown_criteria_are_refused(several):
    with pytest.raises(ValueError, match=r'errors, f1, siou, got .speed.'):
        choose_entropy_threshold(several, 'logistic_regression', 'speed')
    with pytest.raises(ValueError, match='no neural_network was fitted'):
        choose_entropy_threshold(several, 'neural_network', 'f1')


def test_groups_by_image_and_by_block(make_segments):
    segments = load_segment_set([make_segments(12)], 0.5)
    np.testing.assert_array_equal(segment_groups(segments, 'image'), segments.segment_frame)
    np.testing.assert_array_equal(segment_groups(segments, 'group'), segments.segment_frame // 4)
    with pytest.raises(ValueError, match=r"'group', 'image' or 'split', got 'city'"):
        segment_groups(segments, 'city')


def test_too_many_segments_are_left_out_in_part_but_exactly(make_segments, monkeypatch):
    segments = load_segment_set([make_segments(40)], 0.5)
    settings = MetaFitSettings(seed=2)
    count = len(segments)
    monkeypatch.setattr(left_out_segments, 'FOLDS_TIMES_SEGMENTS', 10 * count)
    part = predict_left_out_segments(segments, 'logistic_regression', settings)
    assert len(part.rows) == len(np.unique(part.rows)) == 10
    everything = leave_one_out(segments.metrics, segments.is_true_ood)
    np.testing.assert_allclose(part.probability, everything.probability[part.rows], atol=1e-7)


def test_network_left_out_equals_a_training_without_the_segment(make_segments):
    from meta_ood_training.meta.fitting.neural_meta import (
        NeuralSettings,
        predict_neural_network,
        train_neural_networks,
    )
    from meta_ood_training.meta.fitting.standardization import fit_standardization
    from scipy.special import expit

    segments = load_segment_set([make_segments(12)], 0.5)
    settings = MetaFitSettings(neural=NeuralSettings(epochs=2, seed=1))
    result = predict_left_out_segments(segments, 'neural_network', settings)
    kept = np.arange(len(segments)) != 3
    scaler = fit_standardization(segments.metrics[kept])
    alone = train_neural_networks(
        [scaler.apply(segments.metrics[kept])],
        [segments.is_true_ood[kept]],
        NeuralSettings(epochs=2, seed=1 + 3),  # fold f starts from seed + f
    )[0]
    expected = expit(predict_neural_network(scaler.apply(segments.metrics[[3]]), alone))
    np.testing.assert_allclose(result.probability[3], expected, atol=1e-5)


def test_network_hash_ignores_the_meta_classifier_but_not_a_weight(small_bundle):
    bundle = load_bundle(small_bundle)
    assert replace(bundle, meta_threshold=0.1).network_sha256 == bundle.network_sha256
    name = next(iter(bundle.weights))
    changed = {**bundle.weights, name: bundle.weights[name] + 1e-6}
    assert replace(bundle, weights=changed).network_sha256 != bundle.network_sha256


@pytest.mark.parametrize(
    'changes',
    [
        {'architecture': 'deeplab_v3plus_mobilenet_v2'},
        {'arguments': {'scale': 1.0}},
        {'input_mean': (0.5, 0.5, 0.5)},
        {'input_std': (0.5, 0.5, 0.5)},
        {'class_names': ('road', 'sky', 'building')},
    ],
)
def test_network_hash_knows_what_else_decides_the_logits(small_bundle, changes):
    """A dilation has no weights of its own, nor has the scaling of the input."""
    bundle = load_bundle(small_bundle)
    assert replace(bundle, **changes).network_sha256 != bundle.network_sha256


def test_network_hash_is_the_same_before_and_after_the_disk(small_bundle, tmp_path):
    made = replace(load_bundle(small_bundle), input_std=(0.25, 0.5, 1.0))
    save_bundle(made, tmp_path / 'bundle')
    assert load_bundle(tmp_path / 'bundle').network_sha256 == made.network_sha256


def test_report_without_any_threshold_still_renders():
    text = render_markdown(
        {
            'command': 'meta-ood-train fit-meta x',
            'revision': 'abc',
            'date': '2026-01-01',
            'data': {
                'model_id': 'm@1',
                'label_rule': 'deployed',
                'void_rule': 'whole image',
                'sources': [{'title': 'mine', 'frames': 7, 'region_of_interest': 'the left half'}],
                'connectivity': 8,
                'min_size_px': 0,
                'missed_object_unit': ['instance'],
            },
            'leaky_scaler': True,
            'group_by': 'group',
            'gap': 0.0,
            'min_object_px': 0,
            'thresholds': [],
            'notes': ['a note'],
            'figures': {},
        }
    )
    assert 'z-scores over all segments, as published' in text
    assert 'a note' in text
    assert '| mine | 7 | the left half |' in text
