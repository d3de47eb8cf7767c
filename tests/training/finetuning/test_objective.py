"""The one-pass objective against PyTorch's in float64, a case worked out by hand, invariances."""

import math

from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD
from meta_ood_training.finetuning.data.label_sets import label_sets, Teaching
from meta_ood_training.finetuning.loop.fused_loss import FusedTerms
from meta_ood_training.finetuning.loop.objective import upsampled_objective
import pytest
import torch

HALF = {'align_corners': False, 'ood_loss_weight': 0.5, 'normalization': 'per_term'}


def random_case(size, full_size, teacher_size=None, *, classes=5, batch=2, seed=0):
    """Return logits, a target with every kind of value, and a teacher with every kind of set."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn((batch, classes, *size), generator=generator)
    values = torch.tensor([*range(classes), OOD, IGNORED, IN_DISTRIBUTION])
    target = values[torch.randint(len(values), (batch, *full_size), generator=generator)]
    teaching = None
    if teacher_size:
        sets = torch.rand((batch, 256, classes), generator=generator) > 0.6
        sets[:, 1] = False  # a label that stays what it says
        sets[0, IGNORED] = False
        scores = 3 * torch.randn((batch, classes, *teacher_size), generator=generator)
        teaching = Teaching(scores, True, sets)
    return logits, target.to(torch.uint8), teaching


def with_gradient(logits, target, teaching=None, **options):
    logits = logits.clone().requires_grad_()
    loss = upsampled_objective(logits, target, teaching=teaching, **options)
    (3 * loss.total).backward()
    return loss, logits.grad


@pytest.mark.parametrize(
    ('part', 'wrong', 'message'),
    [
        (
            'logits',
            torch.zeros(2, 6, 3, 3),
            r'\(2, 5, h, w\), like the network, got \(2, 6, 3, 3\)',
        ),
        (
            'logits',
            torch.zeros(1, 5, 3, 3),
            r'\(2, 5, h, w\), like the network, got \(1, 5, 3, 3\)',
        ),
        ('sets', torch.ones(2, 256, 6, dtype=torch.bool), r'\(2, 256, 5\), got \(2, 256, 6\)'),
        ('sets', torch.ones(2, 255, 5, dtype=torch.bool), r'\(2, 256, 5\), got \(2, 255, 5\)'),
    ],
)
def test_a_teacher_of_other_shapes_is_refused(part, wrong, message):
    logits, target, teaching = random_case((3, 3), (6, 6), (3, 3))
    with pytest.raises(ValueError, match=message):
        upsampled_objective(logits, target, teaching=teaching._replace(**{part: wrong}), **HALF)


@pytest.mark.parametrize('class_weights', [(), (0.5, 4.0, 1.0, 0.0, 2.5)])
@pytest.mark.parametrize('normalization', ['all_pixels', 'per_term'])
@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize(
    ('size', 'full_size', 'teacher_size'),
    [
        ((7, 9), (29, 35), None),
        ((7, 9), (29, 35), (15, 11)),
        ((6, 5), (6, 5), (3, 3)),
        ((1, 1), (17, 33), (2, 1)),
        ((12, 150), (48, 600), (6, 75)),  # several tiles in both directions
        ((20, 20), (9, 7), None),  # shrunk
    ],
)
def test_loss_and_gradient_are_those_of_float64(
    size, full_size, teacher_size, align_corners, normalization, class_weights
):
    logits, target, teaching = random_case(size, full_size, teacher_size)
    options = {
        'align_corners': align_corners,
        'ood_loss_weight': 0.3,
        'normalization': normalization,
        'class_weights': class_weights,
    }
    ours, gradient = with_gradient(logits, target, teaching, **options)
    if teaching:
        teaching = teaching._replace(logits=teaching.logits.double())
    exact, exact_gradient = with_gradient(logits.double(), target, teaching, **options)
    for got, expected in zip(vars(ours).values(), vars(exact).values(), strict=True):
        assert got.item() == pytest.approx(expected.item(), rel=1e-5)
    scale = float(exact_gradient.abs().max())
    assert float((gradient - exact_gradient).abs().max()) < 1e-5 * scale


def test_two_by_two_pixels_worked_out_by_hand():
    # as in test_losses: p = (3/4, 1/4); l_in = log 4/3 and log 4, l_out = (log 4/3 + log 4) / 2
    logits = torch.tensor([math.log(3.0), 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2)
    target = torch.tensor([[[0, 1], [OOD, IGNORED]]], dtype=torch.uint8)
    loss, gradient = with_gradient(logits, target, **HALF)
    mean = (math.log(4 / 3) + math.log(4)) / 2
    assert float(loss.in_distribution) == pytest.approx(mean)
    assert float(loss.ood) == pytest.approx(mean)
    assert loss.total.item() == pytest.approx(mean)
    # dL/dz = share (p - target): 1/4 for each known pixel, 1/2 for the OoD one; times 3
    expected = [[-1 / 16, 3 / 16], [1 / 8, 0]]
    torch.testing.assert_close(gradient[0, 0], 3 * torch.tensor(expected))
    torch.testing.assert_close(gradient[0, 1], -3 * torch.tensor(expected))


def test_gradient_of_ood_pixels_vanishes_at_the_uniform_softmax():
    target = torch.full((1, 20, 20), OOD, dtype=torch.uint8)
    loss, gradient = with_gradient(torch.full((1, 7, 5, 5), 2.5), target, **HALF)
    assert float(loss.ood) == pytest.approx(math.log(7), rel=1e-6)
    assert float(gradient.abs().max()) < 1e-9


def test_teacher_with_one_allowed_class_is_that_label():
    logits, target, _ = random_case((5, 6), (20, 24))
    sets = torch.from_numpy(label_sets(5, 'labels')).expand(2, -1, -1)
    teaching = Teaching(100 * torch.randn(2, 5, 3, 3), False, sets)
    taught, taught_gradient = with_gradient(logits, target, teaching, **HALF)
    plain, plain_gradient = with_gradient(logits, target, **HALF)
    assert taught.total.item() == plain.total.item()
    torch.testing.assert_close(taught_gradient, plain_gradient, rtol=0, atol=0)


def test_nothing_labelled_is_no_loss():
    target = torch.full((1, 20, 20), IGNORED, dtype=torch.uint8)
    loss, gradient = with_gradient(torch.randn(1, 5, 5, 5), target, **HALF)
    assert float(loss.total) == 0
    assert not gradient.any()


def test_sure_logits_stay_numbers_and_bad_ones_show():
    logits, target, _ = random_case((5, 6), (20, 24))
    loss, gradient = with_gradient(1e4 * logits, target, **HALF)
    assert torch.isfinite(loss.total)
    assert torch.isfinite(gradient).all()
    logits[0, 0, 2, 2] = torch.nan
    loss, _ = with_gradient(logits, target, **HALF)
    assert torch.isnan(loss.total)


def test_any_number_of_threads_gives_the_same_bits():
    logits, target, teaching = random_case((9, 9), (36, 36), (5, 5), batch=3)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 3):
            torch.set_num_threads(count)
            results.append(with_gradient(logits, target, teaching, **HALF))
    finally:
        torch.set_num_threads(threads)
    assert float(results[0][0].total) == float(results[1][0].total)
    assert torch.equal(results[0][1], results[1][1])


def test_memory_layout_of_the_logits_does_not_matter():
    logits, target, teaching = random_case((9, 9), (36, 36), (5, 5))
    _, gradient = with_gradient(logits, target, teaching, **HALF)
    channels_last = logits.contiguous(memory_format=torch.channels_last)
    _, same = with_gradient(channels_last, target, teaching, **HALF)
    assert torch.equal(gradient, same)


def test_plain_sums_have_no_gradient():
    logits, target, _ = random_case((5, 6), (20, 24))
    total, sums = FusedTerms.apply(
        logits.requires_grad_(), target, False, (1.0, 1.0), [1.0] * 5, None
    )
    assert total.requires_grad
    assert not sums.requires_grad


def test_target_of_another_batch_is_refused():
    logits, target, _ = random_case((5, 6), (20, 24))
    with pytest.raises(ValueError, match=r'one target an image'):
        upsampled_objective(logits[:1], target, **HALF)
