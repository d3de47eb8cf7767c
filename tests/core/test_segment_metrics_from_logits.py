"""The fast path against the definition on upsampled probabilities."""

import math
import threading

from hypothesis import given, settings
from hypothesis import strategies as st
from meta_ood_ros.core.dense import predict_dense
from meta_ood_ros.core.kernels import segment_sums_from_logits
from meta_ood_ros.core.segment_metrics import measure_segments, measure_segments_from_logits
from meta_ood_ros.core.segments import find_segments, Segments
import numpy as np
import pytest
from scipy import ndimage
import torch


def measure_slowly(logits, size, segments, align_corners):
    upsampled = torch.nn.functional.interpolate(
        logits.double()[None], size, mode='bilinear', align_corners=align_corners
    )[0]
    return measure_segments(upsampled.softmax(0).numpy(), segments)


def check(logits, size, segments, align_corners, *, dense=True):
    expected = measure_slowly(logits, size, segments, align_corners)
    options = [None]
    if dense:
        options.append(predict_dense(logits, size, align_corners=align_corners))
    for prediction in options:
        metrics = measure_segments_from_logits(
            logits, size, segments, align_corners=align_corners, dense=prediction
        )
        assert metrics.names == expected.names
        assert metrics.values.dtype == np.float64
        room = 1e-7 * np.maximum(1.0, expected['size_relative'])
        for name in metrics.names:
            difference = np.abs(metrics[name] - expected[name])
            if '_variance' in name:
                assert (difference <= room).all(), name
            else:
                assert (difference <= 1e-6 * np.abs(expected[name]) + 1e-15).all(), name


def blobs(seed, size, share, sigma=3.0):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=size), sigma)
    return field > np.quantile(field, 1 - share)


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(('shape', 'size'), [
    ((19, 16, 32), (64, 128)),
    ((5, 17, 20), (51, 61)),
    ((3, 30, 40), (30, 40)),
    ((4, 60, 50), (25, 33)),
    ((2, 2, 2), (9, 200)),
    ((19, 5, 40), (7, 1000)),
    ((254, 6, 5), (24, 20)),
    ((6, 200, 3), (9, 9)),
])  # fmt: skip
@pytest.mark.parametrize('share', [0.05, 0.5, 1.0])
def test_agrees_with_the_definition(shape, size, share, align_corners):
    torch.manual_seed(0)
    logits = torch.randn(shape) * 4
    check(logits, size, find_segments(blobs(1, size, share)), align_corners)


@pytest.mark.parametrize('share', [0.02, 0.3, 0.7])
def test_noise_masks_with_several_segments_a_column(share):
    torch.manual_seed(1)
    logits = torch.randn(7, 20, 30) * 2
    mask = np.random.default_rng(2).random((61, 118)) < share
    check(logits, (61, 118), find_segments(mask), False)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(1, 12), st.integers(1, 12),
    st.integers(1, 40), st.integers(1, 90), st.booleans(), st.sampled_from([0.03, 0.3, 0.9]),
)  # fmt: skip
def test_agrees_at_any_size(seed, classes, h, w, height, width, align_corners, share):
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(classes, h, w)).astype(np.float32) * 5)
    segments = find_segments(rng.random((height, width)) < share)
    check(logits, (height, width), segments, align_corners)


def test_very_large_logits():
    torch.manual_seed(3)
    logits = (torch.rand(19, 12, 12) * 2 - 1) * 80
    check(logits, (48, 48), find_segments(blobs(3, (48, 48), 0.3)), False)


def test_certain_pixels_have_no_entropy():
    logits = torch.zeros(19, 6, 6)
    logits[2] = 2000.0
    metrics = measure_segments_from_logits(
        logits, (24, 24), find_segments(blobs(4, (24, 24), 0.2))
    )
    for name in metrics.names:
        if name.startswith(('entropy', 'margin', 'variation')):
            assert not metrics[name].any(), name
    assert (metrics['probability_mean_2'] == 1).all()


def test_a_tie_between_neighbour_classes_goes_to_the_lowest():
    logits = torch.zeros(4, 5, 5)
    logits[1] = logits[3] = 2.0
    mask = np.zeros((20, 20), bool)
    mask[5:9, 5:9] = True
    segments = find_segments(mask)
    for dense in (None, predict_dense(logits, (20, 20))):
        metrics = measure_segments_from_logits(logits, (20, 20), segments, dense=dense)
        assert metrics['neighbour_share_1'][0] == 1.0
        assert metrics['margin_mean'][0] == pytest.approx(1.0)


def test_a_segment_that_fills_the_image():
    torch.manual_seed(5)
    check(torch.randn(3, 4, 4), (13, 17), find_segments(np.ones((13, 17), bool)), True)


def test_dropped_segments_count_as_outside():
    torch.manual_seed(6)
    logits = torch.randn(5, 10, 10)
    mask = np.random.default_rng(6).random((40, 40)) < 0.3
    segments = find_segments(mask, min_size_px=12)
    assert 0 < segments.count < find_segments(mask).count
    check(logits, (40, 40), segments, False)


def test_no_segment_gives_no_rows():
    metrics = measure_segments_from_logits(
        torch.zeros(5, 4, 4), (8, 8), find_segments(np.zeros((8, 8), bool))
    )
    assert metrics.values.shape == (0, 47)
    assert metrics.values.dtype == np.float64


@pytest.mark.parametrize('threads', [1, 2, 7])
def test_the_number_of_threads_changes_nothing_but_the_last_bits(threads, monkeypatch):
    torch.manual_seed(7)
    logits = torch.randn(6, 20, 20)
    segments = find_segments(blobs(7, (83, 90), 0.4))
    expected = measure_slowly(logits, (83, 90), segments, False).values
    monkeypatch.setattr(torch, 'get_num_threads', lambda: threads)
    values = [measure_segments_from_logits(logits, (83, 90), segments).values for _ in range(3)]
    np.testing.assert_allclose(values[0], expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(values[1], values[0])
    np.testing.assert_array_equal(values[2], values[0])


def test_many_segments_share_one_table(monkeypatch):
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 4)
    monkeypatch.setattr(segment_sums_from_logits, 'TABLE_NUMBERS', 1)
    torch.manual_seed(8)
    check(torch.randn(3, 8, 8), (64, 64), find_segments(blobs(8, (64, 64), 0.3, 1.0)), False)


def test_two_cameras_at_once():
    torch.manual_seed(9)
    jobs = [(torch.randn(4, 9, 9), find_segments(blobs(i, (50, 50), 0.3))) for i in range(4)]
    expected = [measure_segments_from_logits(a, (50, 50), b).values for a, b in jobs]
    found: dict[int, np.ndarray] = {}

    def run(i):
        for _ in range(5):
            found[i] = measure_segments_from_logits(jobs[i][0], (50, 50), jobs[i][1]).values

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(4):
        np.testing.assert_array_equal(found[i], expected[i])


def test_read_only_arrays_and_views():
    torch.manual_seed(10)
    logits = torch.randn(4, 10, 10)
    segments = find_segments(blobs(10, (40, 40), 0.3))
    dense = predict_dense(logits, (40, 40))
    expected = measure_segments_from_logits(logits, (40, 40), segments).values
    for array in (dense.semantic, segments.labels):
        array.flags.writeable = False
    for labels in (segments.labels, np.asfortranarray(segments.labels)):
        values = measure_segments_from_logits(
            logits.numpy(), (40, 40), Segments(labels, segments.count), dense=dense
        ).values
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_logits_that_are_no_numbers_are_refused(value):
    logits = torch.zeros(4, 8, 9)
    logits[2, 4, 4] = value
    segments = find_segments(np.ones((32, 36), bool))
    with pytest.raises(ValueError, match=r'logits must be finite, got NaN or infinity among the '
                       r'\(4, 8, 9\) values\. Check the network'):  # fmt: skip
        measure_segments_from_logits(logits, (32, 36), segments)


def test_arrays_that_do_not_fit_are_refused():
    logits = torch.zeros(4, 8, 8)
    segments = find_segments(np.ones((16, 16), bool))
    with pytest.raises(ValueError, match=r'segments\.labels must be int32 of shape \(16, 17\)'):
        measure_segments_from_logits(logits, (16, 17), segments)
    with pytest.raises(ValueError, match=r'dense must be of the size \(16, 16\), got \(8, 8\)\. '
                       'Pass what predict_dense returned'):  # fmt: skip
        measure_segments_from_logits(
            logits, (16, 16), segments, dense=predict_dense(logits, (8, 8))
        )
    with pytest.raises(ValueError, match=r'logits must have shape \(C, h, w\) with C >= 2'):
        measure_segments_from_logits(logits[None], (16, 16), segments)
    mask = np.ones((16, 16), bool)
    mask[:4] = False  # neighbours, whose classes are counted
    others = torch.zeros(19, 8, 8)
    others[18] = 1.0
    with pytest.raises(ValueError, match=r'dense.semantic must hold classes below 4, got 18'):
        measure_segments_from_logits(
            logits, (16, 16), find_segments(mask), dense=predict_dense(others, (16, 16))
        )


@pytest.mark.parametrize('label', [-1, 3, 10**9])
def test_labels_beyond_the_count_are_refused(label):
    labels = np.zeros((16, 16), np.int32)
    labels[3, 3], labels[8, 8] = 2, label
    with pytest.raises(ValueError, match=r'segments\.labels must lie in 0\.\.count, got others'):
        measure_segments_from_logits(torch.zeros(3, 4, 4), (16, 16), Segments(labels, 2))
