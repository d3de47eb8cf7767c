"""The objectives with a head and of a prior network, against each other and worked out by hand."""

from dataclasses import replace
import math

from meta_ood_training.datasets.sample import IGNORED, OOD
from meta_ood_training.finetuning.config import ObjectiveConfig
from meta_ood_training.finetuning.data.label_sets import CAMVID_SETS, label_sets, Teaching
from meta_ood_training.finetuning.loop.kinds import find_objective
from meta_ood_training.finetuning.objective_config import DirichletConfig
from meta_ood_training.heads.beside import HeadSettings, Outputs
import numpy as np
import pytest
import torch
from torch.distributions import Dirichlet, kl_divergence

CLASSES = 19
HEAD = HeadSettings(('layer',))
KINDS = ('void_class', 'outlier_head', 'residual_head', 'dirichlet')


def config(kind, **options):
    head = None if kind in ('dirichlet', 'entropy_maximization') else HEAD
    return ObjectiveConfig(0.25, kind=kind, head=head, **options)


def random_case(kind, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((2, CLASSES, 6, 8), generator=generator)
    count = {'residual_head': CLASSES, 'dirichlet': 0}.get(kind, 1)
    planes = torch.randn((2, count, 3, 4), generator=generator) if count else None
    values = torch.tensor([*range(CLASSES), OOD, OOD, OOD, IGNORED, IGNORED])
    target = values[torch.randint(len(values), (2, 12, 15), generator=generator)].to(torch.uint8)
    taught = torch.randn((2, CLASSES, 6, 8), generator=generator)
    sets = torch.from_numpy(label_sets(CLASSES, 'consistent', CAMVID_SETS)).expand(2, 256, CLASSES)
    return logits, planes, target, Teaching(taught, True, sets)


def found(kind, logits, planes, target, teaching=None, **options):
    return find_objective(
        Outputs(logits, planes),
        target,
        align_corners=True,
        objective=config(kind, **options),
        teaching=teaching,
    )


@pytest.mark.parametrize('is_taught', [False, True])
@pytest.mark.parametrize('normalization', ['per_term', 'all_pixels'])
@pytest.mark.parametrize('kind', ['void_class', 'outlier_head', 'residual_head'])
def test_the_quick_way_and_the_plain_one_agree_in_value_and_gradient(
    kind, normalization, is_taught
):
    logits, planes, target, teaching = random_case(kind)
    weights = tuple(np.linspace(0.5, 2, CLASSES).tolist())
    results = []
    for dtype in (torch.float32, torch.float64):  # only float32 goes the quick way
        z, extra = (one.detach().to(dtype).requires_grad_() for one in (logits, planes))
        taught = replace_logits(teaching, dtype) if is_taught else None
        loss = found(
            kind, z, extra, target, taught, normalization=normalization, class_weights=weights
        )
        loss.total.backward()
        results.append((loss, z.grad.float(), extra.grad.float()))
    (quick, *gradients), (plain, *expected) = results
    assert quick.total.item() == pytest.approx(plain.total.item(), rel=1e-5)
    torch.testing.assert_close(quick.sums(), plain.sums(), rtol=1e-5, atol=1e-5)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def replace_logits(teaching, dtype):
    return teaching._replace(logits=teaching.logits.to(dtype))


def one_pixel(values, plane=None):
    """Logits of one pixel, seen as (1, C, 1, 1) double; planes likewise."""
    logits = torch.tensor(values, dtype=torch.float64).reshape(1, -1, 1, 1)
    planes = None if plane is None else torch.tensor([[[[plane]]]], dtype=torch.float64)
    return logits.requires_grad_(), planes.requires_grad_() if planes is not None else None


def label(value):
    return torch.full((1, 1, 1), value, dtype=torch.uint8)


def test_void_as_a_class_by_hand():
    # logits (log 2, 0) and log 3 of void: 2/6, 1/6, 3/6
    logits, planes = one_pixel([math.log(2), 0.0], math.log(3))
    known, ood = (found('void_class', logits, planes, label(one)) for one in (0, OOD))
    assert float(known.total) == pytest.approx(0.75 * math.log(3))
    assert float(ood.total) == pytest.approx(0.25 * math.log(2))
    assert (float(known.in_distribution), float(ood.ood)) == pytest.approx(
        (math.log(3), math.log(2))
    )
    ood.total.backward()
    assert float(planes.grad) == pytest.approx(0.25 * -0.5)  # more of void ...
    assert logits.grad.flatten().tolist() == pytest.approx(
        [0.25 / 3, 0.25 / 6]
    )  # less of all else
    nothing = found('void_class', logits, planes, label(IGNORED))
    assert (int(nothing.in_distribution_pixels), int(nothing.ood_pixels)) == (0, 0)
    assert float(nothing.total) == 0


def test_an_outlier_head_by_hand():
    logits, planes = one_pixel([math.log(3), 0.0], math.log(4))  # p = 3/4; outlier 4/5
    known, ood = (found('outlier_head', logits, planes, label(one)) for one in (0, OOD))
    assert float(known.total) == pytest.approx(0.75 * (math.log(4 / 3) + math.log(5)))
    assert float(ood.total) == pytest.approx(0.25 * math.log(5 / 4))
    ood.total.backward()
    assert not logits.grad.any()  # the classes hear nothing of OoD pixels
    assert float(planes.grad) == pytest.approx(-0.25 / 5)
    planes.grad = None
    known.total.backward()
    assert float(planes.grad) == pytest.approx(0.75 * 4 / 5)


def test_a_residual_is_trained_as_a_network_with_these_logits_would_be():
    logits, planes, target, teaching = random_case('residual_head', 1)
    still = planes.new_zeros(planes.shape)
    without = found('entropy_maximization', logits, None, target, teaching)
    same = found('residual_head', logits, still, target, teaching)
    assert float(same.total) == float(without.total)
    even = found('residual_head', logits, -logits, target)
    assert float(even.ood) == pytest.approx(math.log(CLASSES), rel=1e-6)


def test_a_prior_network_by_hand():
    alpha = torch.tensor([3.0, 0.5, 2.0], dtype=torch.float64)
    logits, _ = one_pixel(alpha.log().tolist())
    settings = DirichletConfig(concentration=10.0, smoothing=0.3, divergence_weight=0.1)
    known, ood = (
        found('dirichlet', logits, None, label(one), dirichlet=settings) for one in (2, OOD)
    )
    wanted = torch.tensor([1.0, 1.0, 8.0], dtype=torch.float64)
    sharp = float(kl_divergence(Dirichlet(wanted), Dirichlet(alpha)))
    flat = float(kl_divergence(Dirichlet(torch.ones(3).double()), Dirichlet(alpha)))
    assert float(known.total) == pytest.approx(0.75 * (0.1 * sharp - math.log(2 / 5.5)))
    assert float(ood.total) == pytest.approx(0.25 * 0.1 * flat)
    known.total.backward()
    assert logits.grad[0, 2] < 0  # more of the label's concentration
    logits.grad = None
    found('dirichlet', logits, None, label(OOD), dirichlet=settings).total.backward()
    assert [float(one) > 0 for one in logits.grad.flatten()] == [True, False, True]  # towards 1


def test_a_prior_network_takes_a_teacher_where_labels_are_coarse():
    logits, _, target, teaching = random_case('dirichlet', 2)
    taught = found('dirichlet', logits, None, target, teaching)
    hard = found('dirichlet', logits, None, target)
    assert int(taught.in_distribution_pixels) > int(hard.in_distribution_pixels)
    assert int(taught.ood_pixels) == int(hard.ood_pixels) == int((target == OOD).sum())
    # a teacher that only knows the label's own class is the label
    own = Teaching(teaching.logits, True, torch.eye(256, CLASSES).bool().expand(2, 256, CLASSES))
    same = found('dirichlet', logits, None, target, own)
    assert float(same.total) == pytest.approx(float(hard.total), rel=1e-5)


@pytest.mark.parametrize('kind', KINDS)
def test_a_batch_without_ood_pixels_trains_what_is_known(kind):
    logits, planes, target, _ = random_case(kind, 3)
    target[target == OOD] = IGNORED
    loss = found(kind, logits.requires_grad_(), planes, target)
    assert (int(loss.ood_pixels), float(loss.ood)) == (0, 0.0)
    loss.total.backward()
    assert torch.isfinite(logits.grad).all()


def test_a_head_goes_with_its_kinds_and_settings_make_sense():
    with pytest.raises(ValueError, match='objective.head belongs to the kinds void_class, .* for'):
        ObjectiveConfig(0.25, kind='outlier_head')
    with pytest.raises(ValueError, match='Name its inputs, or leave it out'):
        ObjectiveConfig(0.25, head=HEAD)
    with pytest.raises(ValueError, match=r'smoothing in \(0, 1\) and divergence_weight from 0 on'):
        DirichletConfig(smoothing=0.0)
    teacher = random_case('outlier_head')[3]
    logits, planes, target, _ = random_case('outlier_head')
    odd = teacher._replace(logits=teacher.logits[:, :5])
    for kind in ('outlier_head', 'void_class', 'dirichlet'):
        with pytest.raises(ValueError, match='a teacher must give logits of shape'):
            found(kind, logits, planes, target, odd)
    assert replace(config('dirichlet'), ood_loss_weight=0.5).kind == 'dirichlet'
