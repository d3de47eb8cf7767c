"""Taps of a bilinear resize against torch.nn.functional.interpolate."""

from meta_ood_ros.core.kernels.interpolation import count_sources, find_grid, find_taps
import numpy as np
import pytest
import torch

SIZES = [(1, 1), (1, 5), (5, 1), (4, 4), (8, 32), (7, 23), (23, 7), (64, 9), (2, 3)]


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(('in_size', 'out_size'), SIZES)
def test_taps_resize_as_torch_does(in_size, out_size, align_corners):
    values = np.random.default_rng(0).normal(size=in_size)
    taps = find_taps(in_size, out_size, align_corners=align_corners)
    ours = (1 - taps.weight) * values[taps.low] + taps.weight * values[taps.high]
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(values)[None, None, None], (1, out_size), mode='bilinear',
        align_corners=align_corners,
    )  # fmt: skip
    np.testing.assert_allclose(ours, theirs[0, 0, 0].numpy(), atol=1e-12)
    assert (taps.high - taps.low <= 1).all()
    assert (taps.weight >= 0).all()
    assert (taps.weight < 1).all()


def test_identity_takes_each_pixel_as_it_is():
    for align_corners in (False, True):
        taps = find_taps(6, 6, align_corners=align_corners)
        np.testing.assert_array_equal(taps.low, np.arange(6))
        np.testing.assert_array_equal(taps.weight, 0.0)


def test_doubling_by_hand():
    taps = find_taps(2, 4, align_corners=False)
    np.testing.assert_array_equal(taps.low, [0, 0, 0, 1])
    np.testing.assert_array_equal(taps.weight, [0.0, 0.25, 0.75, 0.0])


def test_taps_are_shared_and_cannot_be_changed():
    assert find_taps(3, 9, align_corners=True) is find_taps(3, 9, align_corners=True)
    with pytest.raises(ValueError, match='read-only'):
        find_taps(3, 9, align_corners=True).low[0] = 1
    with pytest.raises(ValueError, match='read-only'):
        find_grid((2, 3, 3), (9, 9), 'float32', align_corners=True).row_weight[0] = 1


@pytest.mark.parametrize(('in_size', 'out_size'), SIZES)
@pytest.mark.parametrize('pixels', [1, 3, 8, 100])
def test_count_sources_is_enough_for_every_tile(in_size, out_size, pixels):
    taps = find_taps(in_size, out_size, align_corners=False)
    counts = [taps.high[min(i + pixels, out_size) - 1] - taps.low[i] + 1 for i in range(out_size)]
    assert count_sources(taps.low, taps.high, pixels) == max(counts)
