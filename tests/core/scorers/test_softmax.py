"""The scores of the softmax against closed forms, the definitions in float64, and each other."""

import math

from meta_ood_ros.core.dense import predict_dense
from meta_ood_ros.core.scorers import (
    EntropyScorer,
    MarginScorer,
    MaxSoftmaxScorer,
    VariationRatioScorer,
)
from meta_ood_ros.core.uncertainty import probability_margin, variation_ratio
import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

SCORERS = [EntropyScorer, MaxSoftmaxScorer, MarginScorer, VariationRatioScorer]


def image_of(height, width):
    return np.zeros((height, width, 3), dtype=np.uint8)


def score_of_pixel(scorer, probabilities):
    logits = torch.tensor(probabilities).log().float().view(-1, 1, 1)
    return scorer().score(image_of(1, 1), logits).item()


@pytest.mark.parametrize(
    ('scorer', 'expected'),
    [
        (EntropyScorer, -(0.5 * math.log(0.5) + 0.25 * math.log(0.25) * 2) / math.log(3)),
        (MaxSoftmaxScorer, math.log(2)),
        (MarginScorer, 0.75),
        (VariationRatioScorer, 0.5),
    ],
)
def test_closed_form(scorer, expected):
    assert score_of_pixel(scorer, [0.25, 0.5, 0.25]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ('scorer', 'most'),
    [
        (EntropyScorer, 1.0),
        (MaxSoftmaxScorer, math.log(5)),
        (MarginScorer, 1.0),
        (VariationRatioScorer, 0.8),
    ],
)
def test_none_where_one_class_is_certain_and_most_where_all_are_equal(scorer, most):
    certain = torch.tensor([300.0, 0, 0, 0, 0]).view(5, 1, 1)
    assert scorer().score(image_of(2, 3), certain).tolist() == [[0.0] * 3] * 2
    equal = torch.full((5, 1, 1), 7.0)
    np.testing.assert_allclose(scorer().score(image_of(2, 3), equal), most, atol=1e-6)


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('scorer', SCORERS)
def test_against_the_definition_in_float64(scorer, align_corners):
    logits = torch.randn(6, 5, 7, generator=torch.Generator().manual_seed(1)) * 4
    up = interpolate(
        logits.double()[None], (13, 19), mode='bilinear', align_corners=align_corners
    )[0]
    p = up.softmax(0)
    expected = {
        'entropy': -(p * p.log()).sum(0) / math.log(6),
        'msp': -p.amax(0).log(),
        'margin': probability_margin(p),
        'variation_ratio': variation_ratio(p),
    }[scorer.name]
    found = scorer(align_corners=align_corners).score(image_of(13, 19), logits)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-6)


def test_msp_keeps_apart_what_the_probability_rounds_to_one():
    logits = torch.tensor([[0.0, 0.0], [-20.0, -21.0]]).view(2, 1, 2)
    image = image_of(1, 2)
    assert (1.0 / (1.0 + torch.tensor([-20.0, -21.0]).exp())).tolist() == [1.0, 1.0]
    first, second = MaxSoftmaxScorer().score(image, logits)[0]
    assert first == pytest.approx(math.exp(-20), rel=1e-3)
    assert second == pytest.approx(math.exp(-21), rel=1e-3)


def test_entropy_is_that_of_the_fused_path():
    logits = torch.randn(19, 8, 9, generator=torch.Generator().manual_seed(2)) * 3
    fused = predict_dense(logits, (33, 40), align_corners=True)
    found = EntropyScorer(align_corners=True).score(image_of(33, 40), logits)
    np.testing.assert_array_equal(found, fused.entropy)
    one = EntropyScorer().of_logits(logits)
    np.testing.assert_allclose(one, predict_dense(logits, (8, 9)).entropy, atol=1e-5)


@pytest.mark.parametrize('scorer', SCORERS)
def test_strips_do_not_show(scorer, monkeypatch):
    logits = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(3))
    whole = scorer().score(image_of(17, 11), logits)
    monkeypatch.setattr('meta_ood_ros.core.kernels.strips.STRIP_NUMBERS', 4 * 11 * 3)
    np.testing.assert_array_equal(scorer().score(image_of(17, 11), logits), whole)


@pytest.mark.parametrize('scorer', SCORERS)
def test_damaged_logits_are_refused(scorer):
    logits = torch.zeros(3, 2, 2)
    logits[1, 1, 1] = math.nan
    name = 'logits' if scorer is EntropyScorer else scorer.name
    with pytest.raises(ValueError, match=f'{name} must be finite, got NaN'):
        scorer().score(image_of(4, 4), logits)


def test_state():
    assert EntropyScorer().state() == {}
    assert MarginScorer.from_state({}, align_corners=True).align_corners
    with pytest.raises(ValueError, match='margin must have no fitted state, got mean'):
        MarginScorer.from_state({'mean': np.zeros(2)})
    with pytest.raises(ValueError, match='entropy needs the features of the network, got none'):
        EntropyScorer().needed(None)
