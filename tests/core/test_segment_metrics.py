"""Segment metrics: by hand, against an oracle, the published code, scikit-image, invariances."""

import importlib.util
from pathlib import Path
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from meta_ood_ros.core.segment_metrics import measure_segments, metric_names, SegmentMetrics
from meta_ood_ros.core.segments import find_segments, Segments
import numpy as np
import pytest
from skimage.measure import regionprops_table
import torch

# loaded by path: with --import-mode=importlib a test cannot import the file beside it
_SPEC = importlib.util.spec_from_file_location(
    'metrics_oracle', Path(__file__).with_name('metrics_oracle.py')
)
oracle = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(oracle)


def random_image(seed, num_classes=4, shape=(12, 17), share=0.4, sharpness=3.0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(num_classes, *shape)) * sharpness
    p = np.exp(logits - logits.max(0))
    return (p / p.sum(0)).astype(np.float32), find_segments(rng.random(shape) < share)


def test_names_of_the_paper():
    names = metric_names(19)
    assert len(names) == len(set(names)) == 75
    assert names[:5] == (
        'size', 'size_interior', 'size_boundary', 'size_relative', 'size_relative_interior',
    )  # fmt: skip
    assert names[5:15] == (
        'entropy_mean', 'entropy_mean_interior', 'entropy_mean_boundary', 'entropy_mean_relative',
        'entropy_mean_relative_interior', 'entropy_variance', 'entropy_variance_interior',
        'entropy_variance_boundary', 'entropy_variance_relative',
        'entropy_variance_relative_interior',
    )  # fmt: skip
    assert names[15] == 'margin_mean'
    assert names[25] == 'variation_mean'
    assert names[35:38] == ('probability_mean_0', 'probability_mean_1', 'probability_mean_2')
    assert names[54] == 'neighbour_share_0'
    assert names[-2:] == ('centroid_row', 'centroid_column')
    assert [len(metric_names(c)) for c in (2, 11, 255)] == [41, 59, 547]


def test_one_class_is_refused():
    with pytest.raises(ValueError, match='num_classes must be at least 2, got 1'):
        metric_names(1)


def test_a_square_by_hand():
    # a 4x4 square at the left border of a 6x7 image, which makes no boundary there
    mask = np.zeros((6, 7), bool)
    mask[1:5, :4] = True
    p = np.zeros((2, 6, 7), np.float32)
    p[0] = 0.75
    p[1] = 0.25
    p[:, :, 4] = [[0.1], [0.9]]
    metrics = measure_segments(p, find_segments(mask))
    binary_entropy = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    # inside: rows 2, 3 and columns 0 to 2
    expected = {
        'size': 16, 'size_interior': 6, 'size_boundary': 10,
        'size_relative': 1.6, 'size_relative_interior': 0.6,
        'entropy_mean': binary_entropy, 'entropy_mean_interior': binary_entropy,
        'entropy_mean_relative': 1.6 * binary_entropy,
        'entropy_mean_relative_interior': 0.6 * binary_entropy,
        'entropy_variance': 0, 'entropy_variance_relative': 0,
        'margin_mean': 0.5, 'margin_mean_boundary': 0.5, 'margin_mean_relative': 0.8,
        'variation_mean': 0.25, 'variation_mean_relative_interior': 0.15,
        'probability_mean_0': 0.75, 'probability_mean_1': 0.25,
        'centroid_row': 2.5, 'centroid_column': 1.5,
    }  # fmt: skip
    for name, value in expected.items():
        assert metrics[name][0] == pytest.approx(value, abs=1e-7), name
    # pairs: each of the 4 pixels at the right has 3 neighbours in column 4, of class 1; above and
    # below, the 4 columns have 2, 3, 3 and 2 others, of class 0
    right, others = 4 * 3, 2 * (2 + 3 + 3 + 2)
    assert metrics['neighbour_share_1'][0] == pytest.approx(right / (right + others))
    assert metrics['neighbour_share_0'][0] == pytest.approx(others / (right + others))


def test_a_single_pixel_has_no_interior():
    p, _ = random_image(0, shape=(5, 5))
    mask = np.zeros((5, 5), bool)
    mask[2, 3] = True
    metrics = measure_segments(p, find_segments(mask))
    assert metrics['size_boundary'][0] == metrics['size_relative'][0] == 1
    for name in metrics.names:
        if 'interior' in name or 'variance' in name:
            assert metrics[name][0] == 0, name
    assert (metrics['centroid_row'][0], metrics['centroid_column'][0]) == (2, 3)


def test_a_segment_that_fills_the_image():
    p, _ = random_image(1, shape=(5, 6))
    metrics = measure_segments(p, find_segments(np.ones((5, 6), bool)))
    assert metrics['size_boundary'][0] == 0
    assert metrics['size_relative'][0] == metrics['size_relative_interior'][0] == 30
    for name in metrics.names:
        if name.endswith('_boundary') or name.startswith('neighbour'):
            assert metrics[name][0] == 0, name
        if name.endswith('_relative') and name != 'size_relative':
            stem = name.removesuffix('_relative')
            assert metrics[name][0] == pytest.approx(30 * metrics[stem][0])
    assert np.isfinite(metrics.values).all()


def test_no_segment_gives_no_rows():
    p, _ = random_image(2)
    metrics = measure_segments(p, find_segments(np.zeros(p.shape[1:], bool)))
    assert metrics.values.shape == (0, 37 + 2 * 4)
    assert metrics.values.dtype == np.float64


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize(('num_classes', 'share'), [(2, 0.5), (5, 0.2), (19, 0.35), (7, 0.9)])
def test_agrees_with_the_oracle(seed, num_classes, share):
    p, segments = random_image(seed, num_classes, (11, 13), share)
    metrics = measure_segments(p, segments)
    expected = oracle.measure(p, segments.labels)
    for name in metrics.names:
        np.testing.assert_allclose(
            metrics[name], expected[name], rtol=1e-9, atol=1e-12, err_msg=name
        )


def test_zero_probabilities_are_no_problem():
    p = np.zeros((3, 4, 4), np.float32)
    p[1] = 1.0
    p[:, 1, 1] = [0.5, 0.5, 0.0]
    segments = find_segments(np.eye(4, dtype=bool))
    metrics = measure_segments(p, segments)
    assert metrics['entropy_mean'][0] == pytest.approx(np.log(2) / np.log(3) / 4)
    assert metrics['entropy_mean'][0] == pytest.approx(
        oracle.measure(p, segments.labels)['entropy_mean'][0]
    )


def test_constant_quantities_have_no_variance():
    # 1e5 pixels of nearly 1: where float32 sums would be off by 1e-2
    p = np.full((3, 250, 400), 1 / 3, np.float32)
    metrics = measure_segments(p, find_segments(np.ones((250, 400), bool)))
    for name in metrics.names:
        if 'variance' in name:
            assert 0 <= metrics[name][0] < 1e-10 * 1e5


def test_size_mean_and_centroid_agree_with_scikit_image():
    p, segments = random_image(3, 5, (60, 80), 0.3)
    metrics = measure_segments(p, segments)
    table = regionprops_table(
        segments.labels, intensity_image=p.transpose(1, 2, 0).astype(float),
        properties=('label', 'area', 'centroid', 'intensity_mean'),
    )  # fmt: skip
    np.testing.assert_array_equal(table['label'], np.arange(1, segments.count + 1))
    np.testing.assert_array_equal(metrics['size'], table['area'])
    np.testing.assert_allclose(metrics['centroid_row'], table['centroid-0'])
    np.testing.assert_allclose(metrics['centroid_column'], table['centroid-1'])
    for c in range(5):
        np.testing.assert_allclose(
            metrics[f'probability_mean_{c}'], table[f'intensity_mean-{c}'], rtol=1e-12
        )


IMAGES = st.tuples(
    st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 14), st.integers(1, 14),
    st.sampled_from([0.05, 0.3, 0.5, 0.8, 1.0]),
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(IMAGES)
def test_flipping_the_image_flips_the_centroids_only(image):
    seed, num_classes, height, width, share = image
    p, segments = random_image(seed, num_classes, (height, width), share)
    metrics = measure_segments(p, segments)
    flipped_labels = np.ascontiguousarray(segments.labels[::-1, ::-1])
    flipped = measure_segments(p[:, ::-1, ::-1], Segments(flipped_labels, segments.count))
    np.testing.assert_allclose(flipped.values[:, :-2], metrics.values[:, :-2], atol=1e-10)
    np.testing.assert_allclose(flipped['centroid_row'], height - 1 - metrics['centroid_row'])
    np.testing.assert_allclose(flipped['centroid_column'], width - 1 - metrics['centroid_column'])


@settings(max_examples=80, deadline=None)
@given(IMAGES)
def test_permuting_the_classes_permutes_their_columns(image):
    seed, num_classes, height, width, share = image
    p, segments = random_image(seed, num_classes, (height, width), share)
    order = np.random.default_rng(seed).permutation(num_classes)
    metrics, permuted = measure_segments(p, segments), measure_segments(p[order], segments)
    for name in metrics.names:
        stem, _, number = name.rpartition('_')
        other = f'{stem}_{order[int(number)]}' if number.isdigit() else name
        np.testing.assert_allclose(permuted[name], metrics[other], atol=1e-10, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(IMAGES, IMAGES)
def test_images_side_by_side_are_measured_independently(one, other):
    images = []
    for seed, _, height, width, share in (one, other):
        p, segments = random_image(seed, 4, (height, width), share)
        images.append((p, segments))
    height = max(p.shape[1] for p, _ in images)

    # a margin of class 0 around both, so that the border of an image is no border here
    def embed(p, segments, offset, canvas, mask):
        rows, columns = p.shape[1:]
        canvas[:, 1 : 1 + rows, offset : offset + columns] = p
        mask[1 : 1 + rows, offset : offset + columns] = segments.labels > 0

    offsets = (1, 3 + images[0][0].shape[2])
    width = offsets[1] + images[1][0].shape[2] + 1
    both, both_mask = empty_canvas(height, width)
    rows = []
    for (p, segments), offset in zip(images, offsets, strict=True):
        alone, alone_mask = empty_canvas(height, width)
        embed(p, segments, offset, alone, alone_mask)
        embed(p, segments, offset, both, both_mask)
        single = find_segments(alone_mask)
        rows.append((single, measure_segments(alone, single).values))
    together = find_segments(both_mask)
    values = measure_segments(both, together).values
    assert together.count == sum(single.count for single, _ in rows)
    for single, expected in rows:
        for k in range(1, single.count + 1):
            i = together.labels[single.labels == k][0] - 1
            np.testing.assert_allclose(values[i], expected[k - 1], atol=1e-10)


def empty_canvas(height, width):
    canvas = np.zeros((4, height + 2, width), np.float32)
    canvas[0] = 1.0
    return canvas, np.zeros((height + 2, width), bool)


def test_tensors_and_float64_are_accepted():
    p, segments = random_image(5)
    expected = measure_segments(p, segments).values
    np.testing.assert_array_equal(measure_segments(torch.from_numpy(p), segments).values, expected)
    np.testing.assert_allclose(
        measure_segments(p.astype(np.float64), segments).values, expected, rtol=1e-12
    )


def test_arrays_that_do_not_fit_are_refused():
    p, segments = random_image(6)
    with pytest.raises(ValueError, match=r'probabilities must have shape \(C, H, W\) with C >= 2, '
                       r'got \(1, 4, 12, 17\)\. A batch is split by the caller'):  # fmt: skip
        measure_segments(p[None], segments)
    message = (
        r'segments\.labels must be int32 of shape \(11, 17\), got int32 of shape \(12, 17\)\. '
        'Find the segments in a mask of the size of the image'
    )
    with pytest.raises(ValueError, match=message):
        measure_segments(p[:, 1:], segments)
    with pytest.raises(TypeError, match='probabilities must be floating point, got int64'):
        measure_segments(p.astype(np.int64), segments)


def test_unknown_names_are_refused():
    metrics = SegmentMetrics(np.zeros((1, 2)), ('size', 'entropy_mean'))
    with pytest.raises(
        KeyError, match=r"no segment metric 'entropy'. The names are: size, entropy"
    ):
        metrics['entropy']


PUBLISHED = {'S': 'size', 'E': 'entropy', 'D': 'margin', 'V': 'variation'}
REGIONS = {
    '': '', '_in': '_interior', '_bd': '_boundary', '_rel': '_relative',
    '_rel_in': '_relative_interior',
}  # fmt: skip


def to_our_name(published: str) -> str:
    if published in ('mean_x', 'mean_y'):  # x is the row there
        return {'mean_x': 'centroid_row', 'mean_y': 'centroid_column'}[published]
    if match := re.fullmatch(r'(cprob|ndist)(\d+)', published):
        stem = {'cprob': 'probability_mean', 'ndist': 'neighbour_share'}[match[1]]
        return f'{stem}_{int(match[2])}'
    quantity, variance, region = re.fullmatch(r'([SEDV])(_var)?(.*)', published).groups()
    if quantity == 'S':
        return 'size' + REGIONS[region]
    return f'{PUBLISHED[quantity]}_{"variance" if variance else "mean"}{REGIONS[region]}'


@pytest.mark.parametrize(
    'case', ['rand0_t0.3', 'c5', 'shapes', 'void_cuts', 'iou_adj', 'ties_zeros', 'empty_mask']
)
def test_parity_with_the_published_code(case, shared_data):
    data = np.load(shared_data / 'parity' / f'{case}.npz')
    segments = find_segments((data['ood_mask'] > 0) & (data['gt_train'] != 255))
    metrics = measure_segments(data['probs'], segments)
    assert sorted(map(to_our_name, data['names'])) == sorted(metrics.names)
    assert len(metrics.values) == len(data['X'])
    marked = data['marked']
    np.testing.assert_array_equal(segments.labels, np.abs(marked))
    np.testing.assert_array_equal(
        metrics['size_boundary'], [(marked == -k).sum() for k in range(1, segments.count + 1)]
    )
    room = 1e-7 * np.maximum(1.0, metrics['size_relative'])
    for column, published in enumerate(data['names']):
        name, expected = to_our_name(published), data['X'][:, column]
        difference = np.abs(metrics[name] - expected)
        if '_variance' in name:
            assert (difference <= room).all(), name
        else:
            # the published entropy has an epsilon inside its logarithm
            relative = 5e-6 if name.startswith('entropy') else 1e-6
            assert (difference <= relative * np.abs(expected)).all(), name


def test_where_the_published_code_divides_by_zero(shared_data):
    data = np.load(shared_data / 'parity' / 'full_image.npz')
    assert 'ZeroDivisionError' in str(data['error'])
    segments = find_segments((data['ood_mask'] > 0) & (data['gt_train'] != 255))
    metrics = measure_segments(data['probs'], segments)
    assert metrics['size'].tolist() == [data['ood_mask'].size]
    assert np.isfinite(metrics.values).all()
