"""What a network gives -> the objective of the configuration, at the size of the target."""

from meta_ood_training.datasets.sample import OOD
from meta_ood_training.finetuning.data.label_sets import Teaching
from meta_ood_training.finetuning.loop.fused_loss import FusedTerms
from meta_ood_training.finetuning.loop.losses import (
    check_class_weights,
    EntropyMaximizationLoss,
    summarize_loss,
    target_loss,
    weigh_pixels,
    weigh_terms,
)
from meta_ood_training.finetuning.loop.objective import (
    check_teaching,
    count_pixels,
    spread_teaching,
    upsampled_objective,
)
from meta_ood_training.finetuning.loop.prior_loss import prior_objective
from meta_ood_training.finetuning.objective_config import ObjectiveConfig
from meta_ood_training.heads.beside import join_planes, Outputs, to_grid
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad, softplus


def find_objective(
    outputs: Outputs,
    target: Tensor,
    *,
    align_corners: bool,
    objective: ObjectiveConfig,
    teaching: Teaching | None = None,
) -> EntropyMaximizationLoss:
    """
    Return the objective of a batch.

    Parameters
    ----------
    outputs : Outputs
        Logits and planes of a head at their own resolutions, float32.
    target : Tensor of shape (N, H, W), uint8
        Class id 0..C-1, OOD = 254; all other values enter neither term, unless a teacher knows.

    """
    logits, planes = outputs
    if objective.kind == 'dirichlet':
        return prior_objective(
            logits, target, align_corners=align_corners, objective=objective, teaching=teaching
        )
    if objective.kind in ('void_class', 'outlier_head'):
        assert planes is not None
        find = _void_class if objective.kind == 'void_class' else _outlier_head
        return find(logits, planes, target, align_corners, objective, teaching)
    if planes is not None:
        logits = logits + to_grid(planes, logits, align_corners=align_corners)
    return upsampled_objective(
        logits,
        target,
        align_corners=align_corners,
        ood_loss_weight=objective.ood_loss_weight,
        normalization=objective.normalization,
        class_weights=objective.class_weights,
        teaching=teaching,
    )


def _void_class(
    logits: Tensor,
    planes: Tensor,
    target: Tensor,
    align_corners: bool,
    objective: ObjectiveConfig,
    teaching: Teaching | None,
) -> EntropyMaximizationLoss:
    """Cross entropy among C + 1 classes, of which the last is that of OoD pixels."""
    void = logits.shape[1]
    joined = join_planes(Outputs(logits, planes), align_corners=align_corners)
    class_weights = (*check_class_weights(objective.class_weights, void), 1.0)
    if teaching is not None:
        check_teaching(teaching, len(logits), void)
        teaching = Teaching(
            pad(teaching.logits, (0, 0, 0, 0, 0, 1)),
            teaching.align_corners,
            pad(teaching.sets, (0, 1)),  # no label may stand for void
        )
    if _is_fast(logits):
        # What is OoD has no weight here: it is a class of its own in the second pass.
        counts = count_pixels(target, void, teaching)
        weights = _weights(counts, logits, target, objective)
        total_in, sum_in = FusedTerms.apply(
            joined, target, align_corners, (weights[0], 0.0), class_weights, teaching
        )
        of_void = torch.where(target == OOD, void, OOD).to(torch.uint8)
        ones = (1.0,) * (void + 1)
        total_out, sum_out = FusedTerms.apply(
            joined, of_void, align_corners, (weights[1], 0.0), ones, None
        )
        return summarize_loss(total_in + total_out, torch.stack([sum_in[0], sum_out[0]]), counts)
    upsampled = _enlarge(joined, target, align_corners)
    soft_targets, soft = spread_teaching(teaching, target)
    loss, is_known = target_loss(
        upsampled, target, class_weights=class_weights, soft_targets=soft_targets, soft=soft
    )
    return weigh_terms(
        loss,
        upsampled.logsumexp(1) - upsampled[:, void],
        is_known,
        target == OOD,
        shape=(*logits.shape[:2], *target.shape[1:]),
        ood_loss_weight=objective.ood_loss_weight,
        normalization=objective.normalization,
    )


def _outlier_head(
    logits: Tensor,
    planes: Tensor,
    target: Tensor,
    align_corners: bool,
    objective: ObjectiveConfig,
    teaching: Teaching | None,
) -> EntropyMaximizationLoss:
    """Cross entropy of the classes, and of the head's one logit between known and OoD."""
    is_ood = target == OOD
    # by way of the logits' grid, as it is scored
    plane = to_grid(planes, logits, align_corners=align_corners)
    told = _enlarge(plane, target, align_corners)[:, 0]
    if _is_fast(logits):
        if teaching is not None:
            check_teaching(teaching, len(logits), logits.shape[1])
        counts = count_pixels(target, logits.shape[1], teaching)
        weights = _weights(counts, logits, target, objective)
        class_weights = check_class_weights(objective.class_weights, logits.shape[1])
        total, sums = FusedTerms.apply(
            logits, target, align_corners, (weights[0], 0.0), class_weights, teaching
        )
        is_known = _known(target, logits.shape[1], teaching)
        raised = torch.where(is_known, softplus(told), 0.0).sum()
        missed = torch.where(is_ood, softplus(-told), 0.0).sum()
        terms = torch.stack([sums[0] + raised, missed])
        return summarize_loss(total + weights[0] * raised + weights[1] * missed, terms, counts)
    upsampled = _enlarge(logits, target, align_corners)
    soft_targets, soft = spread_teaching(teaching, target)
    loss, is_known = target_loss(
        upsampled,
        target,
        class_weights=objective.class_weights,
        soft_targets=soft_targets,
        soft=soft,
    )
    return weigh_terms(
        loss + softplus(told),
        softplus(-told),
        is_known,
        is_ood,
        shape=upsampled.shape,
        ood_loss_weight=objective.ood_loss_weight,
        normalization=objective.normalization,
    )


def _is_fast(logits: Tensor) -> bool:
    return logits.device.type == 'cpu' and logits.dtype == torch.float32


def _weights(
    counts: Tensor, logits: Tensor, target: Tensor, objective: ObjectiveConfig
) -> tuple[float, float]:
    shape = (*logits.shape[:2], *target.shape[1:])
    weights = weigh_pixels(counts, shape, objective.ood_loss_weight, objective.normalization)
    return float(weights[0]), float(weights[1])


def _known(target: Tensor, classes: int, teaching: Teaching | None) -> Tensor:
    known = target < classes
    if teaching is not None:
        images = torch.arange(len(target))[:, None, None]
        known = known | teaching.sets.any(2)[images, target.long()]
    return known & (target != OOD)


def _enlarge(maps: Tensor, target: Tensor, align_corners: bool) -> Tensor:
    size = (int(target.shape[1]), int(target.shape[2]))
    return interpolate(maps, size, mode='bilinear', align_corners=align_corners)
