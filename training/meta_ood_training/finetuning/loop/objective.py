"""Logits at a network's own resolution -> the objective at the size of the target."""

from collections.abc import Sequence

from meta_ood_training.datasets.sample import OOD
from meta_ood_training.finetuning.data.label_sets import restrict_teacher, Teaching
from meta_ood_training.finetuning.loop.fused_loss import FusedTerms
from meta_ood_training.finetuning.loop.losses import (
    check_class_weights,
    entropy_maximization_loss,
    EntropyMaximizationLoss,
    Normalization,
    summarize_loss,
    weigh_pixels,
)
from meta_ood_training.finetuning.loop.value_tables import VALUES
import torch
from torch import Tensor
from torch.nn.functional import interpolate


def upsampled_objective(
    logits: Tensor,
    target: Tensor,
    *,
    align_corners: bool,
    ood_loss_weight: float,
    normalization: Normalization,
    class_weights: Sequence[float] = (),
    teaching: Teaching | None = None,
) -> EntropyMaximizationLoss:
    """
    Return `entropy_maximization_loss` of bilinearly upsampled logits.

    On the CPU in one pass without any full-size plane (`fused_loss`), elsewhere by PyTorch.

    Parameters
    ----------
    logits : Tensor of shape (N, C, h, w), float
        Class scores before the softmax, at the network's own resolution.
    target : Tensor of shape (N, H, W), uint8
        Class id 0..C-1, OOD = 254; all other values enter neither term, unless a teacher knows.
    teaching : Teaching, optional
        A teacher: its probabilities, restricted to the classes that a pixel's label may stand
        for, are the in-distribution target.

    """
    if logits.ndim != 4 or target.ndim != 3 or len(logits) != len(target):
        raise ValueError(
            f'logits must have shape (N, C, h, w) and target (N, H, W), got '
            f'{tuple(logits.shape)} and {tuple(target.shape)}. Give one target an image.'
        )
    if teaching is not None:
        check_teaching(teaching, len(logits), logits.shape[1])
    if logits.device.type == 'cpu' and logits.dtype == torch.float32:
        counts = count_pixels(target, logits.shape[1], teaching)
        shape = (*logits.shape[:2], *target.shape[1:])
        weights = weigh_pixels(counts, shape, ood_loss_weight, normalization)
        total, sums = FusedTerms.apply(
            logits,
            target,
            align_corners,
            tuple(weights.tolist()),
            check_class_weights(class_weights, logits.shape[1]),
            teaching,
        )
        return summarize_loss(total, sums, counts)
    size = (int(target.shape[1]), int(target.shape[2]))
    soft_targets, soft = spread_teaching(teaching, target)
    return entropy_maximization_loss(
        interpolate(logits, size, mode='bilinear', align_corners=align_corners),
        target,
        ood_loss_weight=ood_loss_weight,
        normalization=normalization,
        class_weights=class_weights,
        soft_targets=soft_targets,
        soft=soft,
    )


def spread_teaching(
    teaching: Teaching | None, target: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Return a teacher's probabilities (N, C, H, W), and which pixels have them; or two None."""
    if teaching is None:
        return None, None
    size = (int(target.shape[1]), int(target.shape[2]))
    upsampled = interpolate(
        teaching.logits, size, mode='bilinear', align_corners=teaching.align_corners
    )
    images = torch.arange(len(target), device=target.device)[:, None, None]
    sets = teaching.sets[images, target.long()].permute(0, 3, 1, 2)
    return restrict_teacher(upsampled, sets), sets.any(1)


def check_teaching(teaching: Teaching, images: int, num_classes: int) -> None:
    """Refuse other shapes: the one-pass loss would read and write beside its arrays."""
    scores, sets = teaching.logits.shape, teaching.sets.shape
    if len(scores) != 4 or scores[:2] != (images, num_classes):
        raise ValueError(
            f'a teacher must give logits of shape ({images}, {num_classes}, h, w), like the '
            f'network, got {tuple(scores)}. Take a teacher with the same classes.'
        )
    if sets != (images, VALUES, num_classes):
        raise ValueError(
            f'label sets must have shape ({images}, {VALUES}, {num_classes}), got {tuple(sets)}. '
            'Make them by label_sets, for the classes of the network.'
        )


def count_pixels(target: Tensor, num_classes: int, teaching: Teaching | None) -> Tensor:
    """Return how many pixels count for l_in and for l_out, (2,) int64."""
    counts = torch.stack([torch.bincount(one.flatten(), minlength=256) for one in target])
    is_known = torch.zeros(counts.shape, dtype=torch.bool)
    is_known[:, :num_classes] = True
    if teaching is not None:
        is_known |= teaching.sets.any(2)
    is_known[:, OOD] = False
    return torch.stack([(counts * is_known).sum(), counts[:, OOD].sum()])
