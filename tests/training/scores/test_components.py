"""Component scores: drawn images, size rules, and scipy's components counted one by one."""

from meta_ood_training.scores import (
    average_components,
    ComponentCounts,
    find_best_f1,
    measure_components,
    ScoreHistogram,
    SIOU_THRESHOLDS,
    SIZE_RULES,
    SizeRule,
)
import numpy as np
import pytest
from scipy import ndimage

ALL = SIZE_RULES['all']


def draw(*rows):
    """Return a mask of rows such as '.##.'."""
    return np.array([[letter == '#' for letter in row] for row in rows])


def everywhere(mask):
    return np.ones(mask.shape, bool)


def test_a_segment_on_half_of_an_object():
    truth = draw('####....', '####....', '........')
    predicted = draw('..####..', '..####..', '........')
    siou, ppv = measure_components(predicted, truth, everywhere(truth), ALL)
    assert siou.tolist() == [4 / 12]
    assert ppv.tolist() == [4 / 8]


def test_another_object_under_the_same_segment_is_no_error():
    truth = draw('##..##', '##..##')
    predicted = draw('######', '######')
    siou, ppv = measure_components(predicted, truth, everywhere(truth), ALL)
    assert siou.tolist() == [4 / 8, 4 / 8]  # of 12 - 4 excused
    assert ppv.tolist() == [8 / 12]


def test_corners_connect_and_void_cuts():
    truth = draw('#...', '.#..', '....')
    predicted = draw('#.##', '.#..', '..##')
    void = draw('..#.', '....', '....')
    siou, ppv = measure_components(predicted, truth, ~void, ALL)
    assert siou.tolist() == [2 / 4]  # 8-connected to the lower right, but not through void
    assert sorted(ppv.tolist()) == [0, 2 / 4]


def test_small_segments_are_dropped_and_small_objects_are_void():
    truth = draw('###.#..', '###....', '.......')
    predicted = draw('###.##.', '###..##', '#......')
    siou, ppv = measure_components(predicted, truth, everywhere(truth), SizeRule(4, 2))
    assert siou.tolist() == [6 / 7]  # the single pixel at the lower left touches
    # of the other segment one pixel lies on what is void
    assert sorted(ppv.tolist()) == [0, 6 / 7]
    siou, ppv = measure_components(predicted, truth, everywhere(truth), SizeRule(5, 2))
    assert ppv.tolist() == [6 / 7]
    siou, ppv = measure_components(predicted, truth, everywhere(truth), SizeRule(8, 7))
    assert len(siou) == len(ppv) == 0


def test_nothing_predicted_and_nothing_there():
    nothing = np.zeros((3, 4), bool)
    truth = draw('#...', '....', '....')
    siou, ppv = measure_components(nothing, truth, everywhere(truth), ALL)
    assert (siou.tolist(), ppv.tolist()) == ([0], [])
    siou, ppv = measure_components(truth, nothing, everywhere(truth), ALL)
    assert (siou.tolist(), ppv.tolist()) == ([], [0])
    siou, ppv = measure_components(nothing, nothing, everywhere(truth), ALL)
    assert np.isnan(average_components(siou, ppv).f1)


def by_hand(predicted, truth, valid, least_segment, least_object):
    """Return sIoU and PPV by the words of the paper, component by component."""
    around = np.ones((3, 3))
    segments, count = ndimage.label(predicted & valid, around)
    objects, object_count = ndimage.label(truth & valid, around)
    segments = [segments == one for one in range(1, count + 1)]
    segments = [one for one in segments if one.sum() >= least_segment]
    objects = [objects == one for one in range(1, object_count + 1)]
    small = [one for one in objects if one.sum() < least_object]
    objects = [one for one in objects if one.sum() >= least_object]
    known = ~np.logical_or.reduce([np.zeros_like(truth), *small])
    segments = [one & known for one in segments if (one & known).any()]
    siou, ppv = [], []
    for one in objects:
        touching = np.zeros_like(truth)
        for segment in segments:
            if (segment & one).any():
                touching |= segment
        others = np.logical_or.reduce(
            [np.zeros_like(truth), *(o for o in objects if o is not one)]
        )
        union = (touching | one) & ~(touching & others)
        siou.append((touching & one).sum() / union.sum())
    on = np.logical_or.reduce([np.zeros_like(truth), *objects])
    for segment in segments:
        ppv.append((segment & on).sum() / segment.sum())
    return siou, ppv


@pytest.mark.parametrize('rule', [ALL, SizeRule(20, 8), SizeRule(3, 30)])
@pytest.mark.parametrize('seed', range(6))
def test_random_blobs_equal_components_counted_one_by_one(seed, rule):
    rng = np.random.default_rng(seed)
    truth, predicted, void = (
        ndimage.gaussian_filter(rng.standard_normal((60, 80)), 2) > limit
        for limit in (0.16, 0.12, 0.25)
    )
    siou, ppv = measure_components(predicted, truth & ~void, ~void, rule)
    expected = by_hand(predicted, truth, ~void, rule.least_segment_px, rule.least_object_px)
    assert len(siou) > 0
    np.testing.assert_allclose(sorted(siou), sorted(expected[0]), rtol=1e-12)
    np.testing.assert_allclose(sorted(ppv), sorted(expected[1]), rtol=1e-12)


def test_f1_is_averaged_over_eleven_thresholds():
    assert SIOU_THRESHOLDS.tolist() == [(25 + 5 * step) / 100 for step in range(11)]
    scores = average_components(np.array([0.5, 0.1]), np.array([0.6, 0.3]))
    # up to .30: TP 1, FN 1, FP 0; to .50: FP 1; to .60: TP 0; beyond: nothing is right
    each = [2 / 3] * 2 + [2 / 4] * 4 + [0] * 5
    assert scores.f1 == pytest.approx(np.mean(each))
    assert scores.siou == pytest.approx(0.3)
    assert scores.ppv == pytest.approx(0.45)


def test_counts_of_frames_add_up():
    truth = draw('####....', '####....')
    predicted = draw('..####..', '..####..')
    whole, first, second = ComponentCounts(), ComponentCounts(), ComponentCounts()
    for counts in (whole, first):
        counts.update(predicted, truth, everywhere(truth), ALL)
    for counts in (whole, second):
        counts.update(truth, truth, everywhere(truth), ALL)
    total = ComponentCounts()
    for counts in (first, second):
        total.add_arrays(counts.to_arrays())
    assert total.scores() == whole.scores()
    assert (total.objects, total.segments) == (2, 2)
    assert ComponentCounts().objects == 0


def test_the_best_threshold_is_that_of_all_thresholds_tried():
    rng = np.random.default_rng(1)
    is_ood = rng.random(500) < 0.2
    values = (rng.integers(0, 30, 500) / 32 + 0.2 * is_ood).astype(np.float32)
    histogram = ScoreHistogram()
    histogram.update(values, is_ood)
    threshold, f1 = find_best_f1(histogram.counts())
    tried = {}
    for one in np.unique(values):
        chosen = values >= one
        tried[one] = 2 * (chosen & is_ood).sum() / (chosen.sum() + is_ood.sum())
    assert f1 == pytest.approx(max(tried.values()))
    chosen = values >= threshold
    assert 2 * (chosen & is_ood).sum() / (chosen.sum() + is_ood.sum()) == pytest.approx(f1)
