"""Stretches of time, on recordings whose shares are counted by hand."""

from collections import Counter
from itertools import pairwise

from meta_ood_training.adaptation.stretches import describe_pattern, PATTERN, share_out
import numpy as np
import pytest


def test_a_short_recording_is_one_round_of_the_pattern():
    places = share_out(np.arange(60) / 10)
    assert [place.block for place in places] == [number // 2 for number in range(60)]
    assert [place.part for place in places] == [PATTERN[number // 2] for number in range(60)]
    assert Counter(place.part for place in places) == {'fit': 28, 'meta': 14, 'judge': 12, '': 6}


def test_a_long_recording_is_several_rounds_in_blocks_of_ten_seconds():
    places = share_out(np.arange(0, 700, 2.5))  # 300 s a round: two rounds of 350 s
    assert places[-1].block == 2 * len(PATTERN) - 1
    lengths = Counter(place.block for place in places)
    assert set(lengths.values()) <= {4, 5}
    assert {place.part for place in places if place.block == 30} == {'fit'}


@pytest.mark.parametrize(
    'seconds', [[float('nan')] * 60, [0.0] * 60, [5.0, *range(59)], [*range(59), float('inf')]]
)
def test_times_that_say_nothing_count_as_even(seconds):
    assert share_out(seconds) == share_out(np.arange(60.0))


def test_between_parts_that_are_judged_and_fitted_there_is_always_a_gap():
    ring = [*PATTERN, PATTERN[0]]
    for one, other in pairwise(ring):
        assert one == other or '' in (one, other)
    assert describe_pattern().startswith('14 fit, 7 meta, 6 judge of 30 blocks')
