"""Segments against hand-drawn masks, scipy's labels and scikit-image's region properties."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from meta_ood_ros.core.segments import find_segments, Segments, summarize_segments
import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import regionprops

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))


def draw(text: str) -> np.ndarray:
    return np.array([[character == '#' for character in line] for line in text.split()])


def test_hand_drawn_mask():
    mask = draw("""
        ..#....#
        .#....##
        #...#...
        ....#..#
    """)
    labels = find_segments(mask).labels
    np.testing.assert_array_equal(labels, [
        [0, 0, 1, 0, 0, 0, 0, 2],
        [0, 1, 0, 0, 0, 0, 2, 2],
        [1, 0, 0, 0, 3, 0, 0, 0],
        [0, 0, 0, 0, 3, 0, 0, 4],
    ])  # fmt: skip


def test_numbers_follow_the_first_pixel_even_where_arms_meet_late():
    # the right arm begins first; OpenCV numbers such segments in another order
    mask = draw("""
        .....#
        #....#
        #.#..#
        ###.##
    """)
    np.testing.assert_array_equal(find_segments(mask).labels, mask * find_segments(mask).labels)
    assert find_segments(mask).labels[0, 5] == 1
    assert find_segments(mask).labels[1, 0] == 2


def test_edges_of_the_image_do_not_touch():
    mask = draw("""
        #...#
        .....
        ....#
        #....
    """)
    assert find_segments(mask).count == 4


@settings(max_examples=300, deadline=None)
@given(MASKS, st.integers(0, 6))
def test_agrees_with_scipy(mask, min_size_px):
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    kept = [k for k in range(1, count + 1) if sizes[k] >= min_size_px]
    renumbered = np.zeros(count + 1, np.int32)
    renumbered[kept] = np.arange(1, len(kept) + 1)
    segments = find_segments(mask, min_size_px=min_size_px)
    np.testing.assert_array_equal(segments.labels, renumbered[labels])
    assert segments.count == len(kept)
    assert segments.labels.dtype == np.int32


@pytest.mark.parametrize('share', [0.01, 0.1, 0.4, 0.6, 0.99])
def test_agrees_with_scipy_on_larger_images(share):
    rng = np.random.default_rng(0)
    for shape in ((40, 515), (97, 64), (1, 1000), (1000, 1)):
        mask = rng.random(shape) < share
        segments = find_segments(mask)
        np.testing.assert_array_equal(segments.labels, ndimage.label(mask, np.ones((3, 3)))[0])


@settings(max_examples=50, deadline=None)
@given(MASKS)
def test_turning_the_image_turns_the_partition(mask):
    segments, turned = find_segments(mask), find_segments(mask[::-1, ::-1])
    assert turned.count == segments.count
    pairs = set(zip(segments.labels.ravel(), turned.labels[::-1, ::-1].ravel(), strict=True))
    assert len(pairs) == segments.count + (not mask.all())


@pytest.mark.parametrize('shape', [(0, 5), (5, 0), (4, 6)])
def test_no_segment(shape):
    segments = find_segments(np.zeros(shape, bool))
    assert segments.count == 0
    assert segments.labels.shape == shape
    summary = summarize_segments(segments, np.zeros(shape, np.uint8), np.zeros(shape, np.float32))
    assert summary.boxes.shape == (0, 4)
    assert summary.class_id.dtype == np.uint8
    assert summary.score_mean.dtype == summary.score_max.dtype == np.float32


def test_views_are_accepted():
    mask = np.random.default_rng(1).random((30, 40)) < 0.3
    expected = find_segments(mask.T.copy()).labels
    np.testing.assert_array_equal(find_segments(mask.T).labels, expected)
    doubled = np.repeat(mask, 2, 1)[:, ::2]
    doubled.flags.writeable = False
    np.testing.assert_array_equal(find_segments(doubled).labels, find_segments(mask).labels)


def test_other_masks_are_refused():
    with pytest.raises(ValueError, match=r'ood_mask must be a bool array of shape \(H, W\), got '
                       r'float32 of shape \(4, 4\)\. Threshold the score first'):  # fmt: skip
        find_segments(np.zeros((4, 4), np.float32))
    with pytest.raises(ValueError, match=r'got bool of shape \(1, 4, 4\)'):
        find_segments(np.zeros((1, 4, 4), bool))
    with pytest.raises(ValueError, match='min_size_px must be at least 0, got -1'):
        find_segments(np.zeros((4, 4), bool), min_size_px=-1)


def test_summary_by_hand():
    mask = draw("""
        ##..
        .#..
        ...#
    """)
    semantic = np.array([[4, 2, 9, 9], [9, 4, 9, 9], [9, 9, 9, 7]], np.uint8)
    score = np.array([[0.5, 0.7, 0, 0], [0, 0.9, 0, 0], [0, 0, 0, 0.6]], np.float32)
    summary = summarize_segments(find_segments(mask), semantic, score)
    np.testing.assert_array_equal(summary.class_id, [4, 7])
    np.testing.assert_array_equal(summary.area_px, [3, 1])
    np.testing.assert_array_equal(summary.boxes, [[0, 0, 2, 2], [3, 2, 1, 1]])
    np.testing.assert_allclose(summary.score_mean, [0.7, 0.6], rtol=1e-6)
    np.testing.assert_array_equal(summary.score_max, np.float32([0.9, 0.6]))


def test_equally_frequent_classes_go_to_the_lowest():
    semantic = np.array([[8, 8, 3, 3, 250]], np.uint8)
    segments = find_segments(np.ones((1, 5), bool))
    summary = summarize_segments(segments, semantic, np.zeros((1, 5), np.float32))
    assert summary.class_id[0] == 3


@settings(max_examples=60, deadline=None)
@given(MASKS, st.integers(0, 2**32 - 1))
def test_summary_agrees_with_scikit_image(mask, seed):
    rng = np.random.default_rng(seed)
    semantic = rng.integers(0, 5, mask.shape).astype(np.uint8)
    score = rng.normal(size=mask.shape).astype(np.float32)
    segments = find_segments(mask)
    summary = summarize_segments(segments, semantic, score)
    for k, region in enumerate(regionprops(segments.labels, intensity_image=score)):
        top, left, bottom, right = region.bbox
        assert summary.boxes[k].tolist() == [left, top, right - left, bottom - top]
        assert summary.area_px[k] == region.area
        assert summary.score_mean[k] == pytest.approx(region.intensity_mean, rel=1e-4, abs=1e-6)
        assert summary.score_max[k] == region.intensity_max
        assert summary.score_mean[k] <= summary.score_max[k]
        votes = np.bincount(semantic[segments.labels == k + 1])
        assert summary.class_id[k] == votes.argmax()


def test_maps_that_do_not_fit_are_refused():
    segments = find_segments(np.ones((4, 4), bool))
    score = np.zeros((4, 4), np.float32)
    with pytest.raises(ValueError, match=r'semantic must be uint8 of shape \(4, 4\), got int64'):
        summarize_segments(segments, np.zeros((4, 4), np.int64), score)
    with pytest.raises(
        ValueError, match=r'score must be float32 of .* got float32 of shape \(2, 4'
    ):
        summarize_segments(segments, np.zeros((4, 4), np.uint8), score[:2])


@pytest.mark.parametrize('label', [-1, 2, 10**9])
def test_labels_beyond_the_count_are_refused(label):
    labels = np.zeros((4, 4), np.int32)
    labels[1, 1], labels[2, 3] = 1, label
    message = (
        r'segments\.labels must lie in 0\.\.count, got others with count=1\. '
        'Pass the Segments that find_segments returned'
    )
    with pytest.raises(ValueError, match=message):
        summarize_segments(
            Segments(labels, 1), np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.float32)
        )
