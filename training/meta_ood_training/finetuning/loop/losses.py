"""
Entropy maximization: L = (1 - lambda) l_in + lambda l_out (equations 2 to 4 of Chan et al.).

Every term is logsumexp(z) minus a weighted mean of the logits z, so neither a one-hot target nor
the C planes of log-probabilities are ever built: this is what the published code spends its time
on beside the network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
import math
from typing import Literal

from meta_ood_training.datasets.sample import OOD
import torch
from torch import Tensor
import torch.distributed as dist

NORMALIZATIONS = ('all_pixels', 'per_term')
Normalization = Literal['all_pixels', 'per_term']


@dataclass(frozen=True)
class EntropyMaximizationLoss:
    """
    The objective of one batch and what it consists of.

    Attributes
    ----------
    total : Tensor, scalar
        What to call `backward()` on. Averaging its gradients over ranks, as DDP does, gives the
        gradient of the batch of all ranks together.
    in_distribution, ood : Tensor, scalar, detached
        Mean of l_in and l_out over this rank's own pixels [nat]; 0 where there is no such pixel.
        `ood` is at least log C, its value at the uniform softmax.
    in_distribution_pixels, ood_pixels : Tensor, scalar int64
        Pixels of this rank in either term.

    """

    total: Tensor
    in_distribution: Tensor
    ood: Tensor
    in_distribution_pixels: Tensor
    ood_pixels: Tensor

    def sums(self) -> Tensor:
        """
        Return what ranks and batches can add up.

        Returns
        -------
        Tensor of shape (5,), float64, detached
            1 batch's total, the sums of l_in and l_out over their pixels, and these pixels.

        """
        counts = torch.stack([self.in_distribution_pixels, self.ood_pixels]).double()
        sums = torch.stack([self.in_distribution, self.ood]).double() * counts
        return torch.cat([self.total.detach().double()[None], sums, counts])


def in_distribution_loss(logits: Tensor, target: Tensor) -> Tensor:
    """
    Return l_in = -log f_y of each pixel (equation 3).

    Parameters
    ----------
    logits : Tensor of shape (N, C, H, W), float
        Class scores before the softmax.
    target : Tensor of shape (N, H, W), integer
        Class id 0..C-1; anything else gives 0.

    Returns
    -------
    Tensor of shape (N, H, W), float
        At least 0 [nat].

    """
    known = _labelled(target, logits.shape[1])
    chosen = torch.where(known, target, 0).long()
    picked = logits.gather(1, chosen.unsqueeze(1)).squeeze(1)
    return torch.where(known, logits.logsumexp(1) - picked, 0.0)


def ood_loss(logits: Tensor) -> Tensor:
    """
    Return l_out = -mean_j log f_j of each pixel (equation 4).

    Parameters
    ----------
    logits : Tensor of shape (N, C, H, W), float
        Class scores before the softmax.

    Returns
    -------
    Tensor of shape (N, H, W), float
        At least log C [nat], and equal to it at the uniform softmax alone.

    """
    return logits.logsumexp(1) - logits.mean(1)


def soft_target_loss(logits: Tensor, soft_targets: Tensor) -> Tensor:
    """
    Return -sum_j t_j log f_j of each pixel: l_in with a teacher's probabilities as target.

    Parameters
    ----------
    logits : Tensor of shape (N, C, H, W), float
        Class scores before the softmax.
    soft_targets : Tensor of shape (N, C, H, W), float
        Probabilities t; they sum to 1, or are all 0 where the pixel has no target. Weighted ones
        sum to anything.

    Returns
    -------
    Tensor of shape (N, H, W), float
        At least the entropy of t [nat] where t is not weighted; 0 where t is 0.

    """
    if soft_targets.shape != logits.shape:
        raise ValueError(
            f'soft_targets must have the shape of the logits, {tuple(logits.shape)}, got '
            f'{tuple(soft_targets.shape)}. Upsample the teacher as the network is upsampled.'
        )
    return soft_targets.sum(1) * logits.logsumexp(1) - (soft_targets * logits).sum(1)


def entropy_maximization_loss(
    logits: Tensor,
    target: Tensor,
    *,
    ood_loss_weight: float,
    normalization: Normalization,
    class_weights: Sequence[float] = (),
    soft_targets: Tensor | None = None,
    soft: Tensor | None = None,
) -> EntropyMaximizationLoss:
    """
    Return L = (1 - lambda) l_in + lambda l_out of a batch.

    Parameters
    ----------
    logits : Tensor of shape (N, C, H, W), float
        Class scores before the softmax, at the size of the target.
    target : Tensor of shape (N, H, W), uint8 or int64
        Class id 0..C-1, OOD = 254; all other values enter neither term.
    normalization : str
        `all_pixels`: both sums divided by N x C x H x W, void and the C planes counted: exactly
        the published code, which averages a target of C planes. `per_term`: each term the mean
        over its own pixels, on all ranks together.
    class_weights : sequence of C float, optional
        Factor of each class in l_in, -sum_j w_j t_j log f_j with the target t; default 1. The
        paper has none; they speed up rare classes where a network starts from random weights.
    soft_targets : Tensor of shape (N, C, H, W), float, optional
        A teacher's probabilities.
    soft : Tensor of shape (N, H, W), bool, optional
        Pixels whose in-distribution target is `soft_targets` instead of `target`; OoD pixels stay
        OoD. Default: none.

    """
    _check_shapes(logits, target)
    in_distribution, is_known = target_loss(
        logits, target, class_weights=class_weights, soft_targets=soft_targets, soft=soft
    )
    return weigh_terms(
        in_distribution,
        ood_loss(logits),
        is_known,
        target == OOD,
        shape=logits.shape,
        ood_loss_weight=ood_loss_weight,
        normalization=normalization,
    )


def target_loss(
    logits: Tensor,
    target: Tensor,
    *,
    class_weights: Sequence[float] = (),
    soft_targets: Tensor | None = None,
    soft: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """
    Return l_in of each pixel towards its label or a teacher, weighted, and where there is one.

    Returns
    -------
    loss : Tensor of shape (N, H, W), float
    is_known : Tensor of shape (N, H, W), bool

    """
    classes = logits.shape[1]
    is_known = _labelled(target, classes)
    chosen = torch.where(is_known, target, 0).long()
    loss = logits.logsumexp(1) - logits.gather(1, chosen.unsqueeze(1)).squeeze(1)
    weights = logits.new_tensor(check_class_weights(class_weights, classes))
    loss = loss * weights[chosen]
    if soft_targets is not None and soft is not None:
        distilled = soft & (target != OOD)
        mixed = soft_target_loss(logits, soft_targets * weights[:, None, None])
        loss = torch.where(distilled, mixed, loss)
        is_known = is_known | distilled
    return loss, is_known


def weigh_terms(
    in_distribution: Tensor,
    ood: Tensor,
    is_known: Tensor,
    is_ood: Tensor,
    *,
    shape: Sequence[int],
    ood_loss_weight: float,
    normalization: Normalization,
) -> EntropyMaximizationLoss:
    """
    Return the objective of two losses a pixel, each counted where its mask says.

    Parameters
    ----------
    in_distribution, ood, is_known, is_ood : Tensor of shape (N, H, W)
    shape : sequence of int
        (N, C, H, W), by which `all_pixels` divides.

    """
    sum_in = torch.where(is_known, in_distribution, 0.0).sum()
    sum_out = torch.where(is_ood, ood, 0.0).sum()
    counts = torch.stack([is_known.sum(), is_ood.sum()])
    shares = weigh_pixels(counts, shape, ood_loss_weight, normalization)
    sums = torch.stack([sum_in, sum_out])
    return summarize_loss((shares.to(sums.dtype) * sums).sum(), sums, counts)


def weigh_pixels(
    counts: Tensor, shape: Sequence[int], ood_loss_weight: float, normalization: Normalization
) -> Tensor:
    """
    Return what the loss of one pixel weighs in L: its term's share over what L divides by.

    Parameters
    ----------
    counts : Tensor of shape (2,), int64
        In-distribution and OoD pixels of this rank.

    Returns
    -------
    Tensor of shape (2,), float64
        Of one in-distribution and of one OoD pixel. All ranks take part where there are several.

    """
    if not 0 <= ood_loss_weight <= 1:
        raise ValueError(f'ood_loss_weight must lie in [0, 1], got {ood_loss_weight}.')
    if normalization not in NORMALIZATIONS:
        raise ValueError(
            f'normalization must be one of {", ".join(NORMALIZATIONS)}, got {normalization!r}.'
        )
    shares = [1 - ood_loss_weight, ood_loss_weight]
    weights = torch.tensor(shares, dtype=torch.float64, device=counts.device)
    if normalization == 'all_pixels':
        return weights / math.prod(shape)
    return weights / _count_per_rank(counts)


def check_class_weights(class_weights: Sequence[float], num_classes: int) -> tuple[float, ...]:
    """Return one weight a class, 1 where none are given."""
    weights = tuple(class_weights) or (1.0,) * num_classes
    if len(weights) != num_classes or min(weights) < 0:
        raise ValueError(
            f'class_weights must be {num_classes} numbers from 0 on, got {list(class_weights)}. '
            'Give one for each class, or none.'
        )
    return weights


def summarize_loss(total: Tensor, sums: Tensor, counts: Tensor) -> EntropyMaximizationLoss:
    """
    Return the objective with its terms as means.

    Parameters
    ----------
    sums : Tensor of shape (2,), float
        Of l_in and l_out over this rank's pixels.
    counts : Tensor of shape (2,), int64
        These pixels.

    """
    means = (sums / counts.clamp_min(1)).detach()
    return EntropyMaximizationLoss(total, means[0], means[1], counts[0], counts[1])


def _labelled(target: Tensor, classes: int) -> Tensor:
    return (target >= 0) & (target < classes)


def _count_per_rank(counts: Tensor) -> Tensor:
    """Return the mean count of all ranks, at least 1 in all: DDP then averages the gradients."""
    if not (dist.is_available() and dist.is_initialized()):
        return counts.clamp_min(1).double()
    everywhere = counts.clone()
    dist.all_reduce(everywhere)
    return everywhere.clamp_min(1).double() / dist.get_world_size()


def _check_shapes(logits: Tensor, target: Tensor) -> None:
    if logits.ndim != 4 or target.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(
            f'logits must have shape (N, C, H, W) and target (N, H, W), got {tuple(logits.shape)} '
            f'and {tuple(target.shape)}. Upsample the logits to the target first.'
        )
