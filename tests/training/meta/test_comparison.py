"""Stages of a comparison: the same objects in all, and intervals that say what groups can say."""

from meta_ood_training.meta.fitting.fit import MetaFitSettings
from meta_ood_training.meta.judging import explanation as meta_explanation
from meta_ood_training.meta.judging.comparison import compare_stages, Stage
from meta_ood_training.meta.judging.evaluation import evaluate_threshold
from meta_ood_training.meta.judging.explain import bootstrap_coefficients
from meta_ood_training.meta.reporting.report import render_comparison
from meta_ood_training.segments.loading import load_segment_set
import numpy as np
import pytest


@pytest.fixture(scope='module')
def segments(make_segments):
    """Read 40 images; every fourth has an object, found by the first of its segments."""
    folder = make_segments(40, with_object=lambda image: image % 4 == 0)
    return load_segment_set([folder], 0.5)


def unknown_at(segments, *images):
    """Leave out the true segments of some images, as if they were more than half void."""
    rows = segments.is_true_ood & np.isin(segments.segment_frame, images)
    assert rows.sum() == len(images)
    return segments.without_unknown(rows)


def stage(title, segments, accepted):
    return Stage(title, 0.5, None, segments, np.full(len(segments), accepted))


def test_an_object_unknown_in_one_stage_counts_in_none(segments):
    before = stage('before', unknown_at(segments, 0, 8), False)
    after = stage('after', unknown_at(segments, 8, 12, 16), False)
    # each stage alone would miss 8 and 7 of its own objects: 12 % fewer, and nothing is found
    comparison = compare_stages([before, after])
    assert [one['missed_objects'] for one in comparison['stages']] == [6, 6]
    assert [one['objects'] for one in comparison['stages']] == [6, 6]
    assert [one['objects_left_out'] for one in comparison['stages']] == [4, 4]
    assert [one['segments_left_out'] for one in comparison['stages']] == [2, 3]
    (reduction,) = comparison['reductions']
    assert reduction['missed_objects']['value'] == 0.0
    text = render_comparison({'comparison': comparison})
    assert '| objects | objects left out | segments left out |' in text
    assert '| 6 | 4 | 2 |' in text


def test_segments_on_an_object_left_out_are_not_false(segments):
    before = stage('before', unknown_at(segments, 0), True)
    after = stage('after', segments, True)
    counted = compare_stages([before, after])['stages']
    false = int((~segments.is_true_ood).sum())
    assert [one['false_positives'] for one in counted] == [false, false]
    assert [one['missed_objects'] for one in counted] == [0, 0]


def test_a_part_counts_what_is_left_out_in_it(segments):
    stages = [
        stage('before', unknown_at(segments, 0, 8), False).of_part('1'),
        stage('after', unknown_at(segments, 12), False).of_part('1'),
    ]
    counted = compare_stages(stages)['stages']
    # of the images 1 and 10 to 19, 12 and 16 have an object
    assert [one['objects'] for one in counted] == [1, 1]
    assert [one['objects_left_out'] for one in counted] == [1, 1]
    assert [one['segments_left_out'] for one in counted] == [0, 1]


def test_stages_of_other_images_are_refused(segments):
    fewer = segments.of_frames(np.arange(40) != 1)
    with pytest.raises(ValueError, match=r'same images and objects, got 40 images with 10 .* 39'):
        compare_stages([stage('before', segments, True), stage('after', fewer, True)])


def test_coefficients_vary_over_blocks_whatever_the_folds_keep_together(
    segments, tmp_path, monkeypatch
):
    settings = MetaFitSettings(group_by='image')
    kind = 'logistic_regression'
    evaluation = evaluate_threshold(segments, (kind,), settings)
    asked = {}

    def record(metrics, is_true_ood, group, **options):
        asked.update(group=group, **options)
        return bootstrap_coefficients(metrics, is_true_ood, group, **(options | {'draws': 2}))

    monkeypatch.setattr(meta_explanation, 'bootstrap_coefficients', record)
    meta_explanation.explain_evaluation(
        evaluation, kind, settings, metric_counts=[], images=[], folder=tmp_path, figures={}
    )
    np.testing.assert_array_equal(asked['group'], segments.segment_frame // 4)
    assert asked['draws'] >= 200
