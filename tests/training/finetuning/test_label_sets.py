"""Label sets and a teacher restricted to them, on cases whose answer is known."""

from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD
from meta_ood_training.finetuning.data.label_sets import CAMVID_SETS, label_sets, restrict_teacher
import numpy as np
import pytest
import torch


def test_labels_alone_name_one_class_or_none():
    table = label_sets(19, 'labels')
    assert np.array_equal(table[:19], np.eye(19, dtype=bool))
    assert not table[19:].any()


def test_a_teacher_may_say_anything_where_nothing_is_labelled_but_nothing_on_ood():
    for targets in ('teacher', 'consistent'):
        table = label_sets(19, targets, CAMVID_SETS)
        assert table[[IGNORED, IN_DISTRIBUTION]].all()
        assert not table[OOD].any()
    assert table[13].nonzero()[0].tolist() == [13, 14, 15]
    assert table[0].nonzero()[0].tolist() == [0]


def test_restricted_probabilities_are_those_of_the_teacher_divided_by_the_allowed_mass():
    logits = torch.log(torch.tensor([0.5, 0.3, 0.2])).reshape(1, 3, 1, 1).expand(1, 3, 1, 4)
    allowed = torch.tensor(
        [[True, True, True], [False, True, True], [False, False, True], [False, False, False]]
    ).T.reshape(1, 3, 1, 4)
    found = restrict_teacher(logits, allowed)[0, :, 0].T
    expected = [[0.5, 0.3, 0.2], [0, 0.6, 0.4], [0, 0, 1], [0, 0, 0]]
    assert torch.allclose(found, torch.tensor(expected), atol=1e-6)


def test_a_label_that_the_teacher_finds_impossible_stays_finite():
    logits = torch.tensor([500.0, 0.0, -500.0]).reshape(1, 3, 1, 1)
    allowed = torch.tensor([False, True, True]).reshape(1, 3, 1, 1)
    assert restrict_teacher(logits, allowed).flatten().tolist() == pytest.approx([0, 1, 0])


def test_where_nobody_is_sure_a_teacher_says_nothing():
    table = label_sets(19, 'sure')
    assert np.array_equal(table[:19], np.eye(19, dtype=bool))
    assert table[IN_DISTRIBUTION].all()
    assert not table[[OOD, IGNORED]].any()
