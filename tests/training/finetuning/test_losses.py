"""The objective against closed forms, numbers worked out by hand, and a second implementation."""

import math

from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD
from meta_ood_training.finetuning.loop.losses import (
    entropy_maximization_loss,
    in_distribution_loss,
    ood_loss,
    soft_target_loss,
)
import numpy as np
import pytest
import torch

CLASSES = 5


def random_case(seed=0, batch=2, size=(6, 7)):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn((batch, CLASSES, *size), generator=generator, dtype=torch.float64)
    values = torch.tensor([0, 1, 2, 3, 4, OOD, IGNORED, IN_DISTRIBUTION])
    target = values[torch.randint(len(values), (batch, *size), generator=generator)]
    return logits, target.to(torch.uint8)


def published_loss(logits, target, weight):
    """Write out the published rule: a weighted target of C planes, mean over everything."""
    batch, classes, height, width = logits.shape
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    y = np.zeros(logits.shape)
    for n in range(batch):
        for row in range(height):
            for column in range(width):
                label = int(target[n, row, column])
                if label == OOD:
                    y[n, :, row, column] = weight / classes
                elif label < classes:
                    y[n, label, row, column] = 1 - weight
    return float((y * -log_p).mean())


@pytest.mark.parametrize('weight', [0.0, 0.25, 0.9, 1.0])
def test_all_pixels_equals_the_published_rule_written_in_numpy(weight):
    logits, target = random_case()
    loss = entropy_maximization_loss(
        logits, target, ood_loss_weight=weight, normalization='all_pixels'
    )
    assert float(loss.total) == pytest.approx(
        published_loss(logits.numpy(), target.numpy(), weight), rel=1e-6
    )


def test_two_by_two_pixels_worked_out_by_hand():
    # Two classes with logits (log 3, 0): p = (3/4, 1/4) at every pixel. Targets: class 0, class
    # 1, OoD, void. l_in = log 4/3 and log 4; l_out = (log 4/3 + log 4) / 2.
    logits = torch.tensor([math.log(3.0), 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2)
    target = torch.tensor([[[0, 1], [OOD, IGNORED]]], dtype=torch.uint8)
    first, second = math.log(4 / 3), math.log(4)
    terms = entropy_maximization_loss(
        logits, target, ood_loss_weight=0.25, normalization='per_term'
    )
    assert float(terms.in_distribution) == pytest.approx((first + second) / 2)
    assert float(terms.ood) == pytest.approx((first + second) / 2)
    assert (int(terms.in_distribution_pixels), int(terms.ood_pixels)) == (2, 1)
    assert float(terms.total) == pytest.approx((first + second) / 2)
    whole = entropy_maximization_loss(
        logits, target, ood_loss_weight=0.25, normalization='all_pixels'
    )
    expected = (0.75 * (first + second) + 0.25 * (first + second) / 2) / (2 * 4)
    assert float(whole.total) == pytest.approx(expected)


@pytest.mark.parametrize('normalization', ['all_pixels', 'per_term'])
def test_gradient_of_the_ood_term_vanishes_at_the_uniform_softmax(normalization):
    logits = torch.full((1, CLASSES, 3, 3), 1.7, dtype=torch.float64, requires_grad=True)
    target = torch.full((1, 3, 3), OOD, dtype=torch.uint8)
    loss = entropy_maximization_loss(
        logits, target, ood_loss_weight=0.9, normalization=normalization
    )
    loss.total.backward()
    assert logits.grad.abs().max() < 1e-15
    assert float(loss.ood) == pytest.approx(math.log(CLASSES))


def test_ood_loss_is_at_least_log_c_at_every_pixel_and_finite_when_saturated():
    logits, _ = random_case(1)
    assert bool((ood_loss(logits) >= math.log(CLASSES) - 1e-12).all())
    saturated = torch.tensor([2000.0, 0.0, -2000.0]).reshape(1, 3, 1, 1)
    assert float(ood_loss(saturated)) == 2000.0
    assert float(in_distribution_loss(saturated, torch.zeros((1, 1, 1)))) == 0.0


def test_the_entropy_grows_when_the_ood_loss_falls():
    logits = torch.randn((1, CLASSES, 4, 4), generator=torch.Generator().manual_seed(2))
    logits.requires_grad_()
    target = torch.full((1, 4, 4), OOD, dtype=torch.uint8)
    optimizer = torch.optim.SGD([logits], 2.0)
    for _ in range(200):
        optimizer.zero_grad()
        entropy_maximization_loss(
            logits, target, ood_loss_weight=1.0, normalization='per_term'
        ).total.backward()
        optimizer.step()
    log_p = logits.detach().log_softmax(1)
    assert float(-(log_p.exp() * log_p).sum(1).min()) > 0.98 * math.log(CLASSES)


def test_per_term_is_the_convex_combination_of_the_two_means():
    logits, target = random_case(3)
    log_p = torch.log_softmax(logits, 1)
    known = target < CLASSES
    picked = log_p.gather(1, torch.where(known, target, 0).long()[:, None])[:, 0]
    mean_in = -picked[known].mean()
    mean_out = -log_p.mean(1)[target == OOD].mean()
    loss = entropy_maximization_loss(logits, target, ood_loss_weight=0.3, normalization='per_term')
    assert float(loss.total) == pytest.approx(float(0.7 * mean_in + 0.3 * mean_out))
    void = entropy_maximization_loss(
        torch.cat([logits, logits], 2),
        torch.cat([target, torch.full_like(target, IGNORED)], 1),
        ood_loss_weight=0.3,
        normalization='per_term',
    )
    assert float(void.total) == pytest.approx(float(loss.total))


@pytest.mark.parametrize('normalization', ['all_pixels', 'per_term'])
def test_a_batch_without_ood_or_without_labels_is_finite(normalization):
    logits, _ = random_case(4)
    for value in (0, OOD, IGNORED):
        target = torch.full(logits[:, 0].shape, value, dtype=torch.uint8)
        loss = entropy_maximization_loss(
            logits, target, ood_loss_weight=0.5, normalization=normalization
        )
        assert torch.isfinite(loss.total)
        assert (float(loss.total) == 0) == (value == IGNORED)


def test_one_hot_soft_targets_equal_hard_labels_and_leave_ood_alone():
    logits, target = random_case(5)
    known = target < CLASSES
    one_hot = torch.nn.functional.one_hot(torch.where(known, target, 0).long(), CLASSES)
    soft_targets = one_hot.permute(0, 3, 1, 2).double()
    hard = entropy_maximization_loss(logits, target, ood_loss_weight=0.4, normalization='per_term')
    soft = entropy_maximization_loss(
        logits,
        torch.where(known, IGNORED, target).to(torch.uint8),
        ood_loss_weight=0.4,
        normalization='per_term',
        soft_targets=soft_targets,
        soft=known | (target == OOD),
    )
    assert float(soft.total) == pytest.approx(float(hard.total))
    assert int(soft.ood_pixels) == int(hard.ood_pixels)


def test_soft_target_loss_is_the_cross_entropy_with_the_entropy_as_its_minimum():
    logits, _ = random_case(6)
    teacher = logits.softmax(1)
    own = soft_target_loss(logits, teacher)
    entropy = -(teacher * teacher.log()).sum(1)
    assert torch.allclose(own, entropy)
    other = soft_target_loss(logits + torch.randn_like(logits), teacher)
    assert bool((other > entropy).all())


def test_expectations_are_named():
    logits, target = random_case(7)
    options = {'ood_loss_weight': 0.5, 'normalization': 'per_term'}
    with pytest.raises(ValueError, match=r'target \(N, H, W\), got .* Upsample the logits'):
        entropy_maximization_loss(logits, target[:, :3], **options)
    with pytest.raises(ValueError, match=r'ood_loss_weight must lie in \[0, 1\], got 90'):
        entropy_maximization_loss(logits, target, ood_loss_weight=90, normalization='per_term')
    with pytest.raises(ValueError, match="must be one of all_pixels, per_term, got 'mean'"):
        entropy_maximization_loss(logits, target, ood_loss_weight=0.5, normalization='mean')
    with pytest.raises(ValueError, match=r'soft_targets must have the shape of the logits'):
        soft_target_loss(logits, logits[:, :2])


def test_class_weights_are_those_of_torch_and_leave_ood_pixels_alone():
    logits, target = random_case()
    weights = (0.5, 4.0, 1.0, 0.0, 2.5)
    options = {'ood_loss_weight': 0.5, 'normalization': 'per_term'}
    loss = entropy_maximization_loss(logits, target, class_weights=weights, **options)
    plain = entropy_maximization_loss(logits, target, **options)
    ignored = torch.where(target < CLASSES, target, 255).long()
    weighted = torch.nn.functional.cross_entropy(
        logits,
        ignored,
        weight=torch.tensor(weights, dtype=torch.float64),
        ignore_index=255,
        reduction='sum',
    )
    mean = weighted / plain.in_distribution_pixels
    assert float(loss.in_distribution) == pytest.approx(float(mean))
    assert float(loss.ood) == float(plain.ood)


@pytest.mark.parametrize('weights', [(1.0, 1.0), (1.0, 1.0, 1.0, 1.0, -1.0)])
def test_class_weights_that_do_not_fit_are_refused(weights):
    logits, target = random_case()
    with pytest.raises(ValueError, match='class_weights must be 5 numbers'):
        entropy_maximization_loss(
            logits, target, ood_loss_weight=0.5, normalization='per_term', class_weights=weights
        )
