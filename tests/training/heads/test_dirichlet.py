"""Divergence and measures against torch.distributions and closed forms."""

import math

from meta_ood_training.heads.dirichlet import (
    differential_entropy,
    divergence,
    lack_of_precision,
    largest_differential_entropy,
    mutual_information,
    smoothed_concentrations,
)
import pytest
import torch
from torch.distributions import Dirichlet, kl_divergence

LOGITS = 2 * torch.randn((6, 5), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_divergence_and_entropy_are_those_of_another_implementation():
    target = torch.rand((6, 5), generator=torch.Generator().manual_seed(2)).double() * 9 + 0.05
    expected = kl_divergence(Dirichlet(target), Dirichlet(LOGITS.exp()))
    torch.testing.assert_close(divergence(target, LOGITS), expected)
    torch.testing.assert_close(differential_entropy(LOGITS), Dirichlet(LOGITS.exp()).entropy())


def test_the_divergence_is_0_at_its_target_alone_and_its_gradient_points_there():
    target = LOGITS.exp()
    torch.testing.assert_close(
        divergence(target, LOGITS), torch.zeros(6).double(), atol=1e-9, rtol=0
    )
    away = (LOGITS + 0.5).requires_grad_()
    divergence(target, away).sum().backward()
    assert (away.grad.sum(1) > 0).all()


def test_flat_prior_has_the_largest_entropy_and_half_a_bit_of_ignorance():
    flat = torch.zeros((1, 2))  # alpha = (1, 1): uniform over the interval
    assert float(differential_entropy(flat)) == pytest.approx(0.0, abs=1e-12)
    assert largest_differential_entropy(2) == 0.0
    assert largest_differential_entropy(4) == pytest.approx(-math.log(6))
    # log 2 of the mean, less the mean entropy of a uniform Bernoulli parameter, which is 1/2
    assert float(mutual_information(flat)) == pytest.approx(math.log(2) - 0.5)
    assert float(lack_of_precision(flat)) == pytest.approx(-math.log(2))


@pytest.mark.parametrize('measure', [differential_entropy, mutual_information, lack_of_precision])
def test_measures_fall_with_evidence_and_take_classes_in_any_order(measure):
    weak = measure(LOGITS.abs())
    assert (measure(LOGITS.abs() + 2) < weak).all()
    torch.testing.assert_close(measure(LOGITS.abs().flip(1)), weak)
    assert torch.isfinite(measure(torch.tensor([[25.0, -25.0, 0.0]]))).all()


def test_below_1_the_density_leaves_for_the_corners_and_its_entropy_falls():
    # why `precision` is a measure, too: without any evidence this entropy is as low as with much
    assert differential_entropy(torch.full((1, 5), -3.0)) < differential_entropy(torch.zeros(1, 5))
    assert lack_of_precision(torch.full((1, 5), -3.0)) > lack_of_precision(torch.zeros(1, 5))


def test_smoothed_labels_sum_to_the_concentration():
    alpha = smoothed_concentrations(torch.eye(4), total=100.0, smoothing=0.01)
    torch.testing.assert_close(alpha.sum(1), torch.full((4,), 100.0))
    assert float(alpha[0, 0]) == pytest.approx(99.25)
    assert float(alpha[0, 1]) == pytest.approx(0.25)
