"""Adjusted IoU against the published code's values and drawings."""

from meta_ood_ros.core.segments import find_segments
from meta_ood_training.scores import measure_adjusted_iou
import numpy as np
import pytest

CASES = ['rand0_t0.3', 'c5', 'shapes', 'void_cuts', 'iou_adj', 'ties_zeros', 'empty_mask']


@pytest.mark.parametrize('case', CASES)
def test_adjusted_iou_equals_the_published_code(shared_data, case):
    with np.load(shared_data / 'parity' / f'{case}.npz', allow_pickle=False) as published:
        mask = (published['ood_mask'] > 0) & (published['gt_train'] != 255)
        is_ood = published['gt_train'] == published['ood_index']
        expected, no_overlap = published['iou'], published['iou0']
    iou = measure_adjusted_iou(find_segments(mask).labels, is_ood)
    np.testing.assert_allclose(iou, expected, rtol=1e-12)
    np.testing.assert_array_equal(iou == 0, no_overlap == 1)


def drawing(*rows):
    return np.array([[int(character) for character in row] for row in rows])


def test_what_another_segment_covers_does_not_count():
    is_ood = drawing('111111') == 1
    # Each sees half; nothing of the object is left outside the two.
    np.testing.assert_allclose(measure_adjusted_iou(drawing('111222'), is_ood), [1, 1])
    # Between the two a pixel is left: it counts against both.
    np.testing.assert_allclose(measure_adjusted_iou(drawing('110222'), is_ood), [2 / 3, 3 / 4])


def test_touching_without_overlap_is_no_hit_and_a_far_part_is_not_reached():
    is_ood = drawing('0110', '0000', '0110') == 1
    iou = measure_adjusted_iou(drawing('1000', '0000', '0200'), is_ood)
    np.testing.assert_allclose(iou, [0, 1 / 2])
    assert measure_adjusted_iou(np.zeros((2, 4), np.int32), np.ones((2, 4), bool)).shape == (0,)
