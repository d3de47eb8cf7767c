"""Batch normalisation folded into the convolution before it: exact, and one pass less each."""

import copy
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn, Tensor

Conv = nn.Conv1d | nn.Conv2d
Norm = nn.BatchNorm1d | nn.BatchNorm2d
Network = TypeVar('Network', bound=nn.Module)


def fold_batch_norms(network: Network) -> Network:
    """
    Return a copy of a network in which convolutions do the normalisation that follows them.

    In eval mode y = gamma (conv(x) - mean) / sqrt(var + eps) + beta is a convolution with scaled
    weights and a bias. They are computed in float64, so the copy differs from the original only by
    the rounding of float32.

    Parameters
    ----------
    network : Module
        In eval mode; left as it is.

    Returns
    -------
    Module
        In eval mode. A normalisation without a convolution right before it stays.

    """
    if network.training:
        raise ValueError(
            'network must be in eval mode, got train mode: there the normalisation depends on '
            'the batch. Call eval() first.'
        )
    folded = copy.deepcopy(network)
    for module in folded.modules():
        if isinstance(module, nn.Sequential):
            _fold_neighbours(_chain(module))
    return folded


def _chain(sequential: nn.Sequential) -> list[tuple[nn.Sequential, str, nn.Module]]:
    """Return the layers that a Sequential runs one after the other, nested ones spelled out."""
    chain = []
    for name, layer in sequential.named_children():
        if isinstance(layer, nn.Sequential):
            chain += _chain(layer)
        else:
            chain.append((sequential, name, layer))
    return chain


def _fold_neighbours(chain: list[tuple[nn.Sequential, str, nn.Module]]) -> None:
    for (_, _, conv), (owner, name, norm) in pairwise(chain):
        if isinstance(conv, Conv) and isinstance(norm, Norm) and norm.track_running_stats:
            _fold(conv, norm)
            setattr(owner, name, nn.Identity())


@torch.no_grad()
def _fold(conv: Conv, norm: Norm) -> None:
    mean, var = norm.running_mean, norm.running_var
    assert isinstance(mean, Tensor)
    assert isinstance(var, Tensor)
    scale = (var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.double()
    bias = -mean.double()
    if conv.bias is not None:
        bias = bias + conv.bias.double()
    bias = bias * scale
    if norm.affine:
        bias = bias + norm.bias.double()
    shape = (-1,) + (1,) * (conv.weight.ndim - 1)
    kind = conv.weight.dtype
    conv.weight = nn.Parameter((conv.weight.double() * scale.view(shape)).to(kind))
    conv.bias = nn.Parameter(bias.to(kind))
