"""Max logit, energy and standardized max logit against closed forms and drawings."""

import math

from meta_ood_ros.core.scorers import EnergyScorer, MaxLogitScorer, StandardizedMaxLogitScorer
from meta_ood_ros.core.scorers.standardized_max_logit import smooth_dilated, suppress_boundaries
import numpy as np
import pytest
import torch

IMAGE = np.zeros((1, 2, 3), dtype=np.uint8)
LOGITS = torch.tensor([[3.0, -1.0], [1.0, 2.0], [1.0, 0.0]]).view(3, 1, 2)


def test_max_logit():
    assert MaxLogitScorer().score(IMAGE, LOGITS).tolist() == [[-3.0, -2.0]]


@pytest.mark.parametrize('temperature', [1.0, 2.5])
def test_energy_closed_form(temperature):
    equal = torch.full((4, 1, 2), 1.5)
    scorer = EnergyScorer(temperature=temperature)
    expected = -1.5 - temperature * math.log(4)
    np.testing.assert_allclose(scorer.score(IMAGE, equal), expected, rtol=1e-6)
    first = -temperature * math.log(sum(math.exp(z / temperature) for z in (3.0, 1.0, 1.0)))
    assert scorer.score(IMAGE, LOGITS)[0, 0] == pytest.approx(first, rel=1e-6)
    assert EnergyScorer.from_state(scorer.state()).temperature == temperature


def test_energy_of_a_low_temperature_is_the_max_logit():
    found = EnergyScorer(temperature=1e-3).score(IMAGE, LOGITS)
    np.testing.assert_allclose(found, MaxLogitScorer().score(IMAGE, LOGITS), atol=1e-4)


@pytest.mark.parametrize('temperature', [0.0, -1.0, math.nan, math.inf])
def test_energy_refuses_a_temperature(temperature):
    with pytest.raises(ValueError, match='temperature must be above 0 and finite'):
        EnergyScorer(temperature=temperature)


def test_standardized_closed_form():
    scorer = StandardizedMaxLogitScorer(np.array([1.0, 5.0, 0.0]), np.array([4.0, 0.5, 1.0]))
    # class 0: -(3 - 1) / 4; class 1: -(2 - 5) / 0.5
    assert scorer.score(IMAGE, LOGITS).tolist() == [[-0.5, 6.0]]


def test_standardized_state_comes_back():
    scorer = StandardizedMaxLogitScorer(
        np.array([1.0, 5.0, 0.0]), np.array([4.0, 0.5, 1.0]), boundary=4, smooths=True
    )
    again = StandardizedMaxLogitScorer.from_state(scorer.state(), align_corners=True)
    assert (again.boundary, again.smooths, again.align_corners) == (4, True, True)
    np.testing.assert_array_equal(again.mean, scorer.mean)
    np.testing.assert_array_equal(again.std, scorer.std)


def test_standardized_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match='a std above 0 for each class, got shapes'):
        StandardizedMaxLogitScorer(np.zeros(3), np.array([1.0, 0.0, 1.0]))
    with pytest.raises(ValueError, match='a std above 0 for each class, got shapes'):
        StandardizedMaxLogitScorer(np.zeros(3), np.ones(2))
    with pytest.raises(ValueError, match='boundary must be at least 0 px, got -1'):
        StandardizedMaxLogitScorer(np.zeros(3), np.ones(3), boundary=-1)
    with pytest.raises(ValueError, match='was fitted for 2 classes, got 3'):
        StandardizedMaxLogitScorer(np.zeros(2), np.ones(2)).score(IMAGE, LOGITS)
    with pytest.raises(ValueError, match='needs its fitted array std, got mean'):
        StandardizedMaxLogitScorer.from_state({'mean': np.zeros(2)})
    damaged = {'mean': np.array([math.nan]), 'std': np.ones(1)}
    with pytest.raises(ValueError, match='needs its fitted array mean, got values that are not'):
        StandardizedMaxLogitScorer.from_state(damaged)


def test_a_boundary_gets_the_scores_beside_it():
    # two classes side by side, uncertain where they meet, else 1 on the left and 3 on the right
    semantic = np.zeros((20, 40), dtype=np.float32)
    semantic[:, 20:] = 1
    scores = np.where(semantic == 0, 1, 3).astype(np.float32)
    scores[:, 18:22] = 100
    found = suppress_boundaries(scores, semantic, width=8)
    assert found[:, :12].tolist() == scores[:, :12].tolist()
    assert found.max() <= 3.0
    np.testing.assert_allclose(found[5, :17], 1.0, rtol=1e-5)
    np.testing.assert_allclose(found[5, 23:], 3.0, rtol=1e-5)


def test_no_boundary_no_change():
    scores = np.random.default_rng(0).normal(size=(9, 9)).astype(np.float32)
    flat = np.ones((9, 9), dtype=np.float32)
    np.testing.assert_array_equal(suppress_boundaries(scores, flat, width=8), scores)


def test_smoothing_keeps_a_constant_and_spreads_an_impulse_by_the_dilated_gaussian():
    np.testing.assert_allclose(smooth_dilated(np.full((50, 60), 2.5, np.float32)), 2.5, rtol=1e-6)
    impulse = np.zeros((61, 61), dtype=np.float32)
    impulse[30, 30] = 1
    spread = smooth_dilated(impulse)
    gaussian = np.exp(-(np.arange(-3, 4) ** 2) / 2)
    gaussian /= gaussian.sum()
    np.testing.assert_allclose(spread[12:49:6, 12:49:6], np.outer(gaussian, gaussian), rtol=1e-4)
    assert np.count_nonzero(spread) == 49


def test_boundary_and_smoothing_are_applied_by_the_scorer():
    logits = torch.randn(3, 12, 14, generator=torch.Generator().manual_seed(5))
    image = np.zeros((24, 28, 3), dtype=np.uint8)
    arrays = np.zeros(3), np.ones(3)
    plain = StandardizedMaxLogitScorer(*arrays).score(image, logits)
    semantic = torch.nn.functional.interpolate(logits[None], (24, 28), mode='bilinear')[0]
    expected = smooth_dilated(
        suppress_boundaries(plain, semantic.argmax(0).float().numpy(), width=2)
    )
    found = StandardizedMaxLogitScorer(*arrays, boundary=2, smooths=True).score(image, logits)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert not np.allclose(found, plain)
