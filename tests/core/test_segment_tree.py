"""The component tree against scipy's labels of each threshold, and against a drawing."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from meta_ood_ros.core.segment_tree import grow_segment_tree, split_segments
from meta_ood_ros.core.segments import find_segments
import numpy as np
import pytest
from scipy import ndimage

THRESHOLDS = (0.4, 0.5, 0.6, 0.7, 0.8)
# few values, the thresholds among them: equal scores and plateaus are the rule
SCORES = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20),
    elements=st.sampled_from([np.float32(one / 20) for one in range(21)]),
)


@given(SCORES, st.integers(0, 6), st.booleans())
@settings(deadline=None)
def test_levels_are_the_components_of_each_threshold(score, min_size_px, has_mask):
    ignored = (np.indices(score.shape).sum(0) % 5 == 0) if has_mask else None
    tree = grow_segment_tree(score, THRESHOLDS, min_size_px=min_size_px, ignored=ignored)
    assert [level.threshold for level in tree] == list(THRESHOLDS)
    below = np.zeros(score.shape, np.int32)
    for level, threshold in zip(tree, THRESHOLDS, strict=True):
        mask = score >= np.float32(threshold)
        if ignored is not None:
            mask &= ~ignored
        expected, count = ndimage.label(mask, np.ones((3, 3)))
        area = np.bincount(expected.ravel(), minlength=count + 1)
        kept = (area >= min_size_px) & (np.arange(count + 1) > 0)
        expected = (np.cumsum(kept) * kept)[expected]
        np.testing.assert_array_equal(level.segments.labels, expected)
        np.testing.assert_array_equal(level.area_px, area[kept])
        for segment, parent in enumerate(level.parent, 1):
            assert set(np.unique(below[expected == segment])) == {parent}
        if threshold > THRESHOLDS[0]:
            assert (level.parent > 0).all()
        below = expected


def test_a_drawn_tree():
    score = np.array([[9, 5, 9, 0, 5], [0, 5, 0, 0, 9]], np.float32) / 10
    low, high = grow_segment_tree(score, (0.5, 0.9))
    assert low.segments.labels.tolist() == [[1, 1, 1, 0, 2], [0, 1, 0, 0, 2]]
    assert high.segments.labels.tolist() == [[1, 0, 2, 0, 0], [0, 0, 0, 0, 3]]
    assert high.parent.tolist() == [1, 1, 2]
    assert low.area_px.tolist() == [4, 2]


def test_only_chosen_segments_are_looked_into():
    score = np.array([[9, 0, 9]], np.float32) / 10
    below = find_segments(score > 0)
    level = split_segments(below, score, 0.9, chosen=np.array([False, True]))
    assert level.segments.labels.tolist() == [[0, 0, 1]]
    assert level.parent.tolist() == [2]


@pytest.mark.parametrize('wrong', [(), (0.5, 0.5), (0.8, 0.4)])
def test_thresholds_that_do_not_ascend_are_refused(wrong):
    with pytest.raises(ValueError, match=r'must be ascending, at least one, got \[.*Sort them'):
        grow_segment_tree(np.zeros((2, 2), np.float32), wrong)


@pytest.mark.parametrize('score', [np.zeros((2, 3), np.float32), np.zeros((2, 2))])
def test_a_score_of_another_image_is_refused(score):
    below = find_segments(np.ones((2, 2), bool))
    with pytest.raises(ValueError, match=r'score must be float32 of shape \(2, 2\), got .*Pass'):
        split_segments(below, score, 0.5)
