"""Uncertainty measures against closed forms and against scipy."""

import math

from meta_ood_ros.core.uncertainty import (
    normalized_entropy,
    probability_margin,
    softmax_probabilities,
    variation_ratio,
)
import pytest
from scipy.stats import entropy as scipy_entropy
import torch


def test_entropy_of_two_classes_is_the_binary_entropy():
    p = torch.tensor([0.5, 0.9, 0.99, 1e-6], dtype=torch.float64)
    logits = torch.stack([p.log(), (1 - p).log()])
    expected = -(p * p.log2() + (1 - p) * (1 - p).log2())
    torch.testing.assert_close(normalized_entropy(logits), expected, rtol=1e-11, atol=0)


@pytest.mark.parametrize('num_classes', [2, 19, 255])
def test_equal_logits_have_entropy_one(num_classes):
    logits = torch.full((num_classes, 2, 3), 7.0)
    entropy = normalized_entropy(logits)
    torch.testing.assert_close(entropy, torch.ones(2, 3))
    assert entropy.max() <= 1.0


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_saturated_softmax_has_entropy_zero_and_not_nan(dtype):
    logits = torch.zeros(19, 1, dtype=dtype)
    logits[4] = 2e4
    assert normalized_entropy(logits).item() == 0.0
    assert variation_ratio(softmax_probabilities(logits)).item() == 0.0
    assert probability_margin(softmax_probabilities(logits)).item() == 0.0


def test_nearly_certain_is_not_certain():
    # p = 1e-9 beside 1 - 1e-9, which float32 rounds to 1
    logits = torch.tensor([math.log(1e9), 0.0])
    expected = 1e-9 * (math.log(1e9) + 1) / math.log(2)
    assert normalized_entropy(logits).item() == pytest.approx(expected, abs=2e-9)
    assert normalized_entropy(logits).item() > 0.0


def test_agrees_with_scipy_and_with_sorting():
    torch.manual_seed(0)
    logits = torch.randn(5, 4, 3, dtype=torch.float64) * 3
    p = softmax_probabilities(logits)
    torch.testing.assert_close(p.sum(0), torch.ones(4, 3, dtype=torch.float64))
    expected = torch.from_numpy(scipy_entropy(p.numpy(), axis=0)) / math.log(5)
    torch.testing.assert_close(normalized_entropy(logits), expected)
    best = p.sort(0, descending=True).values
    torch.testing.assert_close(variation_ratio(p), 1 - best[0])
    torch.testing.assert_close(probability_margin(p), 1 - best[0] + best[1])


def test_hand_made_probabilities():
    p = torch.tensor([0.5, 0.3, 0.2])
    assert variation_ratio(p).item() == pytest.approx(0.5)
    assert probability_margin(p).item() == pytest.approx(0.8)
    assert probability_margin(torch.tensor([0.4, 0.4, 0.2])).item() == pytest.approx(1.0)


@pytest.mark.parametrize(
    'measure', [softmax_probabilities, normalized_entropy, variation_ratio, probability_margin]
)
def test_any_class_dimension(measure):
    torch.manual_seed(1)
    values = torch.rand(6, 2, 4)
    moved = measure(values.movedim(0, 1), dim=1)
    expected = measure(values)
    if measure is softmax_probabilities:
        moved = moved.movedim(1, 0)
    torch.testing.assert_close(moved, expected)


def test_adding_a_constant_to_all_logits_changes_nothing():
    torch.manual_seed(2)
    logits = torch.randn(7, 5, dtype=torch.float64)
    torch.testing.assert_close(normalized_entropy(logits + 300), normalized_entropy(logits))


def test_single_class_is_refused():
    with pytest.raises(ValueError, match=r'logits must have at least 2 classes along dimension 0, '
                       r'got shape \(1, 4, 4\)\. Say where the classes are with dim'):  # fmt: skip
        normalized_entropy(torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match='at least 2 classes along dimension 5'):
        variation_ratio(torch.zeros(2, 4), dim=5)


def test_class_ids_are_refused():
    with pytest.raises(TypeError, match=r'logits must be floating point, got torch\.int64'):
        softmax_probabilities(torch.zeros(3, 4, dtype=torch.int64))
    with pytest.raises(TypeError, match='probabilities must be floating point'):
        probability_margin(torch.zeros(3, 4, dtype=torch.uint8))
