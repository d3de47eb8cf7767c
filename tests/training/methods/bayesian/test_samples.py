"""Entropy and mutual information against closed forms and scipy in float64."""

import math

from meta_ood_training.methods.bayesian.samples import Answer, measure_answers
import numpy as np
import pytest
from scipy.stats import entropy
import torch
from torch.nn.functional import interpolate


def answers_of(*logits, align=False):
    return [Answer(torch.tensor(one).view(len(one), 1, 1), align) for one in logits]


def test_certain_answers_that_differ_are_all_mutual_information():
    maps = measure_answers(answers_of([200.0, 0.0, 0.0], [0.0, 200.0, 0.0]), (1, 1))
    share = math.log(2) / math.log(3)
    assert maps['entropy'][0, 0] == pytest.approx(share, abs=1e-6)
    assert maps['mutual_information'][0, 0] == pytest.approx(share, abs=1e-6)


def test_equal_answers_have_none():
    maps = measure_answers(answers_of(*[[1.0, 2.0, 0.5]] * 4), (3, 2))
    own = entropy(torch.softmax(torch.tensor([1.0, 2.0, 0.5]), 0).numpy()) / math.log(3)
    np.testing.assert_allclose(maps['entropy'], np.full((3, 2), own), rtol=1e-6)
    np.testing.assert_allclose(maps['mutual_information'], 0, atol=1e-6)


@pytest.mark.parametrize('align', [False, True])
def test_both_are_those_of_scipy_on_upsampled_answers_of_any_grid(align):
    random = torch.Generator().manual_seed(0)
    answers = [Answer(3 * torch.randn(5, 3 + n, 4 + n, generator=random), align) for n in range(3)]
    maps = measure_answers(answers, (9, 11))
    p = [
        interpolate(one.logits[None].double(), (9, 11), mode='bilinear', align_corners=align)[0]
        .softmax(0)
        .numpy()
        for one in answers
    ]
    total = entropy(np.mean(p, axis=0), axis=0)
    information = total - np.mean([entropy(one, axis=0) for one in p], axis=0)
    np.testing.assert_allclose(maps['entropy'], total / math.log(5), atol=2e-6)
    np.testing.assert_allclose(maps['mutual_information'], information / math.log(5), atol=2e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match='needs at least 2 answers, got 1'):
        measure_answers(answers_of([0.0, 1.0]), (1, 1))
    with pytest.raises(ValueError, match=r'must be of the same classes, got \[2, 3\]'):
        measure_answers(answers_of([0.0, 1.0], [0.0, 1.0, 2.0]), (1, 1))
