"""ODIN: the step goes where the largest softmax grows, and the score is that softmax."""

import math

from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.scenes import render_scene
from meta_ood_training.methods import METHODS, Setup
from meta_ood_training.methods.odin import confidence, OdinScorer
from meta_ood_training.methods.own_pass import OwnPass, upsampled
import numpy as np
import pytest
import torch
from torch import nn


class Sides(nn.Module):
    """Logits (x, -x) of the red channel: the gradient of the largest softmax has the sign of x."""

    stride, align_corners = 1, False
    input_mean, input_std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.last.weight.copy_(torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]]).view(2, 3, 1, 1))

    def forward(self, x):
        return self.last(x)


def image_of(red):
    image = np.zeros((*red.shape, 3), dtype=np.uint8)
    image[..., 0] = red
    return image


def test_the_step_is_that_of_the_paper():
    own = OwnPass(Sides())
    image = image_of(np.array([[0, 50, 200, 255]], dtype=np.uint8))
    x = own.to_input(image)
    stepped = OdinScorer(own, temperature=2.0, step=0.25).stepped(image)
    expected = x.clone()
    expected[:, 0] += 0.25 * x[:, 0].sign()  # further from 0: the larger logit grows
    torch.testing.assert_close(stepped, expected)


def test_the_score_is_the_largest_softmax_of_the_stepped_image_at_that_temperature():
    own = OwnPass(Sides())
    image = image_of(np.array([[0, 50, 200, 255]], dtype=np.uint8))
    scorer = OdinScorer(own, temperature=2.0, step=0.25)
    red = own.to_input(image)[0, 0].abs() + 0.25
    largest = 1 / (1 + torch.exp(-2 * red / 2.0))
    found = scorer.score(image, own.network(own.to_input(image))[0])
    torch.testing.assert_close(torch.from_numpy(found), -largest.log() - math.log(2))


def test_the_largest_softmax_of_known_pixels_rises():
    # fails where the sign of the step is reversed, as in a public benchmark
    own = OwnPass.of_bundle(load_bundle(), 'odin', 'cpu')
    image = render_scene(0, size=(192, 320)).image
    scorer = OdinScorer(own)
    with torch.no_grad():
        before = confidence(own.network(own.to_input(image))[0])
        after = confidence(own.network(scorer.stepped(image))[0])
    assert after.mean() > before.mean()
    assert (after > before).float().mean() > 0.6


def test_a_high_temperature_keeps_pixels_apart():
    logits = torch.tensor([[3.0, 3.0001, 9.0], [0.0, 0.0, 0.0], [-1.0, -1.0, 2.0]])[:, None]
    exact = logits.double() / 1000.0
    exact = -(exact.amax(0) - torch.logsumexp(exact, 0)) - math.log(3)
    scorer = OdinScorer(OwnPass(Sides()), step=0.0)
    scores = scorer.of_logits(logits)
    torch.testing.assert_close(scores.double(), exact, rtol=1e-5, atol=0)
    assert scores[0, 0] > scores[0, 1] > scores[0, 2]


def test_without_a_step_it_takes_the_logits_given():
    logits = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0))
    scorer = OdinScorer(OwnPass(Sides()), temperature=1.0, step=0.0)
    found = scorer.score(np.zeros((2, 3, 3), dtype=np.uint8), logits)
    torch.testing.assert_close(
        torch.from_numpy(found), -logits.softmax(0).amax(0).log() - math.log(2)
    )


def test_it_is_built_from_a_bundle_and_leaves_its_network_alone(tiny_bundle):
    network = tiny_bundle.build_network()
    trained = [one.requires_grad for one in network.parameters()]
    scorer = METHODS['odin'].build(Setup(tiny_bundle, network))
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    scores = scorer.score(image, torch.zeros(19, 32, 48))
    assert scores.shape == (64, 96)
    assert scores.dtype == np.float32
    assert scores.std() > 0
    assert [one.requires_grad for one in network.parameters()] == trained


def test_what_cannot_be_is_refused():
    for options, what in (
        ({'temperature': 0}, 'temperature of ODIN must be above 0, got 0'),
        ({'step': -0.1}, 'step of ODIN must be at least 0, got -0.1'),
    ):
        with pytest.raises(ValueError, match=what):
            OdinScorer(OwnPass(Sides()), **options)


def test_scores_grow_as_logits_do():
    scores = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    for align in (False, True):
        expected = torch.nn.functional.interpolate(
            scores[None, None], (5, 7), mode='bilinear', align_corners=align
        )[0, 0]
        torch.testing.assert_close(
            torch.from_numpy(upsampled(scores, (5, 7), align_corners=align)), expected
        )
