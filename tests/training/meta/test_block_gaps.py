"""Gaps between held-out blocks and what is fitted on, drawn by hand."""

from meta_ood_training.meta.fitting.block_gaps import find_gaps
import numpy as np
import pytest

# two sequences; ten frames a block in a, five in b
GROUPS = ['a_00'] * 10 + ['a_01+dog'] * 4 + ['a_01+cat'] * 6 + ['a_02'] * 10 + ['b_01'] * 5
NAMES = [f'folder/{number:04d}' for number in range(len(GROUPS))]
FOLDS = np.repeat([0, 1, 2, 2], [10, 10, 10, 5])


def _marked(gaps, fold):
    return np.flatnonzero(gaps[fold]).tolist()


def test_a_fifth_of_each_neighbouring_block_is_kept_out():
    gaps = find_gaps(NAMES, GROUPS, FOLDS, 0.2, folds=3)
    assert _marked(gaps, 0) == [10, 11]
    assert _marked(gaps, 1) == [8, 9, 20, 21]
    assert _marked(gaps, 2) == [18, 19]


def test_no_held_out_frame_is_marked_for_its_own_fold():
    gaps = find_gaps(NAMES, GROUPS, FOLDS, 1.0, folds=3)
    assert not gaps[FOLDS, np.arange(len(GROUPS))].any()
    assert _marked(gaps, 1) == [*range(10), *range(20, 30)]


def test_frames_of_two_sources_at_one_moment_are_marked_alike():
    order = np.random.default_rng(0).permutation(20)  # nor does their order count
    names = [f'{source}/{moment}' for source in 'xy' for moment in range(10)]
    groups = ['a_00' if moment < 5 else 'a_01' for _ in 'xy' for moment in range(10)]
    folds = np.array([0 if moment < 5 else 1 for _ in 'xy' for moment in range(10)])
    shuffled = [names[i] for i in order], [groups[i] for i in order], folds[order]
    gaps = find_gaps(*shuffled, 0.2, folds=2)
    assert sorted(shuffled[0][i] for i in _marked(gaps, 0)) == ['x/5', 'y/5']
    assert sorted(shuffled[0][i] for i in _marked(gaps, 1)) == ['x/4', 'y/4']


def test_stamps_of_simulated_time_are_in_the_order_of_time():
    # 0.4 s to 2.2 s in blocks of 1 s: as text, 1000000000 comes before 400000000
    stamps = [400_000_000 + 200_000_000 * step for step in range(10)]
    names = [f'drive/{stamp}' for stamp in stamps]
    groups = [f'drive/block{stamp // 10**9}' for stamp in stamps]
    folds = np.array([stamp // 10**9 for stamp in stamps])
    assert folds.tolist() == [0] * 3 + [1] * 5 + [2] * 2
    gaps = find_gaps(names, groups, folds, 0.2, folds=3)
    assert _marked(gaps, 0) == [3]
    assert _marked(gaps, 1) == [2, 8]
    assert _marked(gaps, 2) == [7]
    wide = [f'drive/{stamp}' for stamp in (8, 9, 10, 11)]  # a block in which the digits grow
    groups, folds = ['d/block0'] * 3 + ['d/block1'], np.array([0, 0, 0, 1])
    gaps = find_gaps(wide, groups, folds, 0.1, folds=2)
    assert _marked(gaps, 1) == [2]


def test_part_of_a_frame_is_a_frame():
    groups = ['bag/block3'] * 3 + ['bag/block4'] * 3
    gaps = find_gaps(NAMES[:6], groups, np.repeat([0, 1], 3), 0.1, folds=2)
    assert _marked(gaps, 0) == [3]
    assert _marked(gaps, 1) == [2]


@pytest.mark.parametrize(
    ('groups', 'folds'),
    [
        (['a_00', 'a_02'], [0, 1]),  # not neighbours
        (['a_00', 'b_01'], [0, 1]),  # not one sequence
        (['a_00', 'a_01'], [1, 1]),  # held out together
        (['scenes/1000', 'scenes/1001'], [0, 1]),  # nothing in common but the data set
    ],
)
def test_others_need_no_gap(groups, folds):
    assert not find_gaps(['x/1', 'x/2'], groups, np.array(folds), 1.0, folds=2).any()


def test_a_block_without_segments_is_never_held_out():
    gaps = find_gaps(['x/1', 'x/2'], ['a_00', 'a_01'], np.array([0, -1]), 1.0, folds=1)
    assert gaps.tolist() == [[False, True]]


def test_no_share_is_no_gap():
    assert not find_gaps(NAMES, GROUPS, FOLDS, 0.0, folds=3).any()


@pytest.mark.parametrize('share', [-0.1, 1.1])
def test_refuses_other_shares(share):
    with pytest.raises(ValueError, match=r'gap must lie in \[0, 1\]'):
        find_gaps(NAMES, GROUPS, FOLDS, share, folds=3)
