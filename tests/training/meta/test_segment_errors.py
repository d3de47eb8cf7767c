"""Errors of a data set against counts made by hand and against masks."""

from meta_ood_training.meta.judging.group_intervals import (
    bootstrap_errors,
    bootstrap_reductions,
    count_group_errors,
)
from meta_ood_training.meta.judging.segment_errors import (
    count_errors,
    found_objects,
    measure_siou,
    rank_segments,
    score_components,
)
from meta_ood_training.meta.reporting.phrases import show_interval, show_range, show_reduction
from meta_ood_training.segments.labels import label_segments
from meta_ood_training.segments.segment_set import SegmentSet
import numpy as np
import pytest

ROAD, OOD, VOID = 0, 254, 255


def make_set(frames, *, groups=None):
    """Build a SegmentSet of (labels, target, objects) masks, by the definitions."""
    rows = {name: [] for name in ('frame', 'number', 'size', 'void', 'ood', 'road', 'known')}
    pairs, objects, object_frame, numbers, road, known = [], [], [], [], [], []
    segments_before = 0
    for index, (labels, target, instances) in enumerate(frames):
        count = int(labels.max())
        for segment in range(1, count + 1):
            inside = labels == segment
            rows['frame'].append(index)
            rows['number'].append(segment)
            rows['size'].append(inside.sum())
            rows['void'].append((inside & (target == VOID)).sum())
            rows['ood'].append((inside & (target == OOD)).sum())
            rows['road'].append((inside & (target == ROAD)).sum())
            rows['known'].append((inside & (target < 250)).sum())
            for one in range(1, int(instances.max()) + 1):
                shared = (inside & (instances == one)).sum()
                if shared:
                    pairs.append((segments_before + segment - 1, len(objects) + one - 1, shared))
        object_frame += [index] * int(instances.max())
        numbers += range(1, int(instances.max()) + 1)
        objects += [(instances == one).sum() for one in range(1, int(instances.max()) + 1)]
        segments_before += count
        road.append((target == ROAD).sum())
        known.append((target < 250).sum())
    size, void = np.array(rows['size'], int), np.array(rows['void'], int)
    shared = np.array(pairs, int).reshape(-1, 3)
    return SegmentSet(
        entropy_threshold=0.5,
        metric_names=('variation_mean',),
        metrics=np.zeros((len(size), 1)),
        is_true_ood=np.array(rows['ood'], int) > 0,
        adjusted_iou=np.zeros(len(size)),
        segment_frame=np.array(rows['frame'], int),
        segment_number=np.array(rows['number'], int),
        size_px=size,
        valid_px=size - void,
        road_px=np.array(rows['road'], int),
        in_distribution_px=np.array(rows['known'], int),
        frame_name=np.array([f'image{one}' for one in range(len(frames))], object),
        frame_group=np.array(groups or [f'g{one}' for one in range(len(frames))], object),
        frame_split=np.array(['fit'] * len(frames), object),
        frame_road_px=np.array(road, int),
        frame_in_distribution_px=np.array(known, int),
        frame_left_out=np.zeros(len(frames), int),
        frame_objects_left_out=np.zeros(len(frames), int),
        object_frame=np.array(object_frame, int),
        object_size_px=np.array(objects, int),
        object_number=np.array(numbers, int),
        overlap_segment=shared[:, 0],
        overlap_object=shared[:, 1],
        overlap_px=shared[:, 2],
        frames_available=len(frames),
    )


def draw(text):
    """Turn a picture of digits into an array; a dot is 0."""
    lines = text.split()
    return np.array([[0 if one == '.' else int(one) for one in line] for line in lines])


@pytest.fixture
def drawn():
    """Two images: object 1 seen in two parts, object 2 missed; object 3 found, a false segment."""
    first = (
        draw('11.2 .... ..33'),
        np.where(draw('1111 .... ....') > 0, OOD, 1),
        draw('1111 .... ....'),
    )
    first[1][2, 0] = OOD
    first[2][2, 0] = 2
    second = (
        draw('1... 1..2 ...2'),
        np.full((3, 4), ROAD),
        np.zeros((3, 4), int),
    )
    second[1][:2, :2] = OOD
    second[2][:2, :2] = 1
    second[1][2, 3] = VOID
    return make_set([first, second])


def test_errors_by_hand(drawn):
    errors = count_errors(drawn)
    # false: segment 3 of the first image, segment 2 of the second
    assert (errors.false_positives, errors.missed_objects, errors.objects) == (2, 1, 3)
    assert errors.errors == 3
    assert errors.f1 == pytest.approx(2 * 2 / (2 * 2 + 2 + 1))
    # road only in the second image: 7 pixels, 1 of them under a segment; class 1 in the first
    assert errors.road_miss_rate == pytest.approx(1 / 7)
    assert errors.in_distribution_miss_rate == pytest.approx((2 + 1) / (7 + 7))
    assert errors.true_removed == 0


def test_remaining_false_positives_are_not_what_the_published_script_prints(drawn):
    # segments in order: image 0: true, true, false; image 1: true, false
    accepted = np.array([True, False, False, False, True])
    errors = count_errors(drawn, accepted)
    kicked, iou0 = ~accepted, ~drawn.is_true_ood
    published = int(kicked.sum() - iou0[kicked].sum())
    assert published == errors.true_removed == 2
    assert errors.false_positives == 1 == int(iou0.sum() - iou0[kicked].sum())
    assert errors.missed_objects == 2
    np.testing.assert_array_equal(found_objects(drawn, accepted), [True, False, False])


def test_siou_by_hand(drawn):
    siou = measure_siou(drawn, np.ones(5, bool))
    # object 1: two segments of 3 pixels inside its 4; object 3: 2 of 4 pixels covered
    np.testing.assert_allclose(siou, [3 / 4, 0.0, 2 / 4])
    scores = score_components(drawn)
    # ppv: 1, 1, 0, 1, 0 (one valid pixel of the last, on road)
    assert scores.ppv == pytest.approx(3 / 5)
    # sIoU >= t: two objects up to .5, one up to .75; false: one object + two segments
    expected = [2 * 2 / (4 + 1 + 2)] * 6 + [2 * 1 / (2 + 2 + 2)] * 5
    assert scores.f1 == pytest.approx(np.mean(expected))


def test_a_segment_on_an_object_that_does_not_count_is_neither_right_nor_wrong(drawn):
    sizes = drawn.object_size_px
    keep = np.array([False, True, True])  # without the object under two segments of the first
    part = drawn.with_objects(keep)
    np.testing.assert_array_equal(part.object_size_px, sizes[keep])
    np.testing.assert_allclose(measure_siou(part, np.ones(5, bool)), [0.0, 2 / 4])
    # ppv: those two are void now, 0, 1, 0
    assert score_components(part).ppv == pytest.approx(1 / 3)
    assert count_errors(part).false_positives == count_errors(drawn).false_positives


def siou_of_masks(predictions, objects, void):
    """Second implementation: Chan et al. 2021, SegmentMeIfYouCan, on masks."""
    values = []
    for one in range(1, int(objects.max()) + 1):
        mine = objects == one
        hitting = [p for p in np.unique(predictions[mine]) if p > 0]
        union = np.isin(predictions, hitting) & ~void
        elsewhere = union & (objects > 0) & ~mine
        shared = (union & mine).sum()
        values.append(shared / (union.sum() + mine.sum() - shared - elsewhere.sum()))
    return np.array(values)


def test_siou_equals_the_definition_on_random_masks():
    rng = np.random.default_rng(0)
    from scipy.ndimage import label

    for _ in range(20):
        predictions = label(rng.random((12, 14)) < 0.45, np.ones((3, 3)))[0]
        instances = label(rng.random((12, 14)) < 0.35)[0]
        target = np.where(instances > 0, OOD, np.where(rng.random((12, 14)) < 0.2, VOID, ROAD))
        one = make_set([(predictions, target, instances)])
        np.testing.assert_allclose(
            measure_siou(one, np.ones(len(one), bool)),
            siou_of_masks(predictions, instances, target == VOID),
        )


def test_labels_of_segments_equal_the_definition_on_random_masks():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, (20, 30))
    target = rng.choice([0, 1, 7, 253, OOD, VOID], (20, 30)).astype(np.uint8)
    instances = np.where(target == OOD, rng.integers(1, 4, (20, 30)), 0)
    found = label_segments(labels, 4, target, instances, num_classes=8, road=0)
    for segment in range(1, 5):
        inside = labels == segment
        at = segment - 1
        assert found.size_px[at] == inside.sum()
        assert found.void_px[at] == (inside & (target == VOID)).sum()
        assert found.ood_px[at] == (inside & (target == OOD)).sum()
        assert found.road_px[at] == (inside & (target == 0)).sum()
        assert found.in_distribution_px[at] == (inside & np.isin(target, [0, 1, 7, 253])).sum()
    pairs = dict(
        zip(
            zip(found.overlap_segment, found.overlap_object, strict=True),
            found.overlap_px,
            strict=True,
        )
    )
    assert pairs == {
        (s, o): n
        for s in range(1, 5)
        for o in range(1, 4)
        if (n := ((labels == s) & (instances == o)).sum())
    }
    np.testing.assert_array_equal(found.object_size_px, np.bincount(instances.ravel())[1:])


def test_half_void_is_kept_and_more_is_left_out():
    labels = np.array([[1, 1, 2, 2, 2]])
    target = np.array([[VOID, 0, VOID, VOID, 0]], np.uint8)
    nothing = np.zeros((1, 5), int)
    found = label_segments(labels, 2, target, nothing, num_classes=2, road=None)
    np.testing.assert_array_equal(found.left_out, [False, True])
    np.testing.assert_array_equal(found.road_px, [0, 0])


def test_no_segment_and_no_object():
    empty = np.zeros((4, 4), int)
    nothing = make_set([(empty, np.full((4, 4), ROAD), empty)])
    errors = count_errors(nothing)
    assert (errors.false_positives, errors.missed_objects, errors.objects) == (0, 0, 0)
    assert np.isnan(errors.f1)
    assert errors.road_miss_rate == 0.0
    scores = score_components(nothing)
    assert np.isnan([scores.siou, scores.ppv, scores.f1]).all()


def test_ranking_both_ways_round_by_hand():
    is_true = np.array([True, False, True, False])
    score = np.array([0.9, 0.8, 0.7, 0.1])
    ranking = rank_segments(score, is_true)
    assert ranking.auroc == pytest.approx(3 / 4)
    assert ranking.auprc_true == pytest.approx((1 / 1 + 2 / 3) / 2)
    # false first: .1 (false), .7 (true), .8 (false), .9
    assert ranking.auprc_false == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert (ranking.base_rate_true, ranking.base_rate_false) == (0.5, 0.5)


def test_ranking_by_scores_that_are_not_numbers_is_undefined_but_its_base_rate_is_not():
    ranking = rank_segments(np.array([0.1, np.nan, 0.3]), np.array([True, True, False]))
    assert np.isnan([ranking.auroc, ranking.auprc_true, ranking.auprc_false]).all()
    assert ranking.base_rate_true == pytest.approx(2 / 3)


def test_ranking_of_one_class_is_undefined_but_its_base_rate_is_not():
    ranking = rank_segments(np.array([0.1, 0.2]), np.array([True, True]))
    assert np.isnan(ranking.auroc)
    assert ranking.base_rate_true == 1.0


def test_group_errors_sum_to_the_total_and_intervals_hold_it(drawn):
    groups = count_group_errors(drawn, np.ones(5, bool))
    assert groups.groups == ('g0', 'g1')
    np.testing.assert_array_equal(groups.false_positives, [1, 1])
    np.testing.assert_array_equal(groups.missed_objects, [1, 0])
    intervals = bootstrap_errors(groups)
    assert intervals['errors'].value == 3
    # two groups: every draw is one of 2 + 2, 2 + 1, 1 + 1
    assert (intervals['errors'].low, intervals['errors'].high) == (2, 4)


def test_reduction_of_equal_groups_is_exact(drawn):
    before = count_group_errors(drawn, np.ones(5, bool))
    after = count_group_errors(drawn, drawn.is_true_ood)
    reduction = bootstrap_reductions(before, after)
    assert reduction['false_positives'].value == 1.0
    assert reduction['false_positives'].low == 1.0
    assert reduction['errors'].value == pytest.approx(2 / 3)
    assert reduction['missed_objects'].value == 0.0


def test_one_group_has_no_interval():
    empty, objects = np.zeros((2, 2), int), draw('1. ..')
    frames = [(draw('11 ..'), np.where(objects > 0, OOD, ROAD), objects)] * 3
    frames += [(draw('.. 11'), np.full((2, 2), ROAD), empty)] * 2
    alone = make_set(frames, groups=['block'] * 5)
    before = count_group_errors(alone, np.ones(5, bool))
    interval = bootstrap_errors(before)['errors']
    assert interval.value == 2
    assert np.isnan([interval.low, interval.high]).all()
    reduction = bootstrap_reductions(before, count_group_errors(alone, np.arange(5) < 4))['errors']
    assert reduction.value == 0.5
    assert np.isnan([reduction.low, reduction.high]).all()
    assert show_interval({'intervals': {'errors': vars(interval)}}, 'errors') == '2 [-]'
    assert show_reduction(vars(reduction)) == '50% [-]'
    assert show_range(float('nan'), float('nan')) == '-'


def test_reduction_of_different_groups_is_refused(drawn):
    before = count_group_errors(drawn, np.ones(5, bool))
    other = make_set([(np.zeros((2, 2), int),) * 3], groups=['elsewhere'])
    with pytest.raises(ValueError, match=r'same groups of images, got 2 and 1 that differ'):
        bootstrap_reductions(before, count_group_errors(other, np.zeros(0, bool)))


def test_joined_groups_count_as_one():
    empty = np.zeros((2, 2), int)
    frames = [(empty, np.full((2, 2), ROAD), empty)] * 3
    joined = make_set(frames, groups=['block1+dog', 'block2', 'block3+dog'])
    groups = count_group_errors(joined, np.zeros(0, bool))
    assert groups.groups == ('block1+dog', 'block2')
