"""The objective of a prior network: divergences of Dirichlet densities, and cross entropy."""

from meta_ood_training.datasets.sample import OOD
from meta_ood_training.finetuning.data.label_sets import Teaching
from meta_ood_training.finetuning.loop.losses import (
    check_class_weights,
    EntropyMaximizationLoss,
    summarize_loss,
    weigh_pixels,
)
from meta_ood_training.finetuning.loop.objective import check_teaching, spread_teaching
from meta_ood_training.finetuning.objective_config import ObjectiveConfig
from meta_ood_training.heads.dirichlet import divergence, smoothed_concentrations
import torch
from torch import Tensor
from torch.nn.functional import interpolate, one_hot


def prior_objective(
    logits: Tensor,
    target: Tensor,
    *,
    align_corners: bool,
    objective: ObjectiveConfig,
    teaching: Teaching | None = None,
) -> EntropyMaximizationLoss:
    """
    Return equation 3 of Blum et al., its two expectations weighed like l_in and l_out.

    l_in = g KL[Dir(alpha_in) || Dir(e^z)] - sum_c t_c log softmax(z)_c, with the label or the
    teacher's probabilities t and alpha_in made of them; l_out = g KL[Dir(1) || Dir(e^z)].

    Parameters
    ----------
    logits : Tensor of shape (N, C, h, w), float
        Log-concentrations, at the network's own resolution.
    target : Tensor of shape (N, H, W), uint8

    """
    settings, classes = objective.dirichlet, logits.shape[1]
    size = (int(target.shape[1]), int(target.shape[2]))
    z = interpolate(logits, size, mode='bilinear', align_corners=align_corners)
    z = z.movedim(1, -1)
    weights = logits.new_tensor(check_class_weights(objective.class_weights, classes))
    is_ood, is_known = target == OOD, target < classes
    if teaching is not None:
        check_teaching(teaching, len(logits), classes)
        soft_targets, soft = spread_teaching(teaching, target)
        assert soft_targets is not None
        assert soft is not None
        is_known = (is_known | soft) & ~is_ood
        wanted = soft_targets.movedim(1, -1)[is_known]
        hard = ~soft[is_known]
        wanted[hard] = one_hot(target[is_known][hard].long(), classes).to(wanted)
    else:
        wanted = one_hot(target[is_known].long(), classes).to(z)
    inside, outside = z[is_known], z[is_ood]
    sharp = smoothed_concentrations(
        wanted, total=settings.concentration, smoothing=settings.smoothing
    )
    crossed = -(wanted * weights * inside.log_softmax(1)).sum(1)
    factor = settings.divergence_weight
    sum_in = (factor * divergence(sharp, inside) + crossed).sum()
    sum_out = factor * divergence(torch.ones_like(outside), outside).sum()
    counts = torch.stack([is_known.sum(), is_ood.sum()])
    shape = (*logits.shape[:2], *size)
    shares = weigh_pixels(counts, shape, objective.ood_loss_weight, objective.normalization)
    sums = torch.stack([sum_in, sum_out])
    return summarize_loss((shares.to(sums.dtype) * sums).sum(), sums, counts)
