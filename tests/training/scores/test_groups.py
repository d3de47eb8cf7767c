"""Groups that share a part are one."""

from meta_ood_training.scores.groups import join_groups
import numpy as np


def test_block_and_pasted_source_are_joined_through_any_chain():
    names = ['a+dog', 'b', 'c+dog', 'c+cat', 'd', 'b']
    np.testing.assert_array_equal(join_groups(names), [0, 1, 0, 0, 2, 1])


def test_joining_works_when_the_link_comes_last():
    np.testing.assert_array_equal(join_groups(['a', 'b', 'a+b', 'c']), [0, 0, 0, 1])
