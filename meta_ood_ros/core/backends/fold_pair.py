"""One convolution that does what a convolution and the normalisation after it do."""

import copy
from typing import TypeVar

import torch
from torch import nn, Tensor

Conv = nn.Conv1d | nn.Conv2d
Norm = nn.BatchNorm1d | nn.BatchNorm2d
AnyConv = TypeVar('AnyConv', bound=Conv)


@torch.no_grad()
def fold_pair(conv: AnyConv, norm: Norm) -> AnyConv:
    """
    Return norm(conv(x)) as one convolution with a bias.

    In eval mode y = gamma (conv(x) - mean) / sqrt(var + eps) + beta is a convolution with scaled
    weights. They are computed in float64, so only the rounding of the weights' type is added.
    """
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
    folded = copy.deepcopy(conv)
    shape = (-1,) + (1,) * (conv.weight.ndim - 1)
    kind = conv.weight.dtype
    folded.weight = nn.Parameter((conv.weight.double() * scale.view(shape)).to(kind))
    folded.bias = nn.Parameter(bias.to(kind))
    return folded
