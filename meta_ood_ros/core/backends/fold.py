"""A network rewritten for inference: the same function, fewer layers."""

import copy
from itertools import pairwise
from typing import TypeVar

from meta_ood_ros.core.backends.fold_pair import Conv, fold_pair, Norm
from meta_ood_ros.core.backends.fold_pyramid import FoldedPyramidPool
from meta_ood_ros.core.networks.espnet_units import PyramidPool
from torch import nn

Network = TypeVar('Network', bound=nn.Module)


def fold_batch_norms(network: Network) -> Network:
    """
    Return a copy of a network in which convolutions do the normalisation that follows them.

    Returns
    -------
    Module
        In eval mode. It differs from the original by the rounding of float32 only, its state
        dict has other names, and a normalisation without a convolution right before it stays.

    """
    if network.training:
        raise ValueError(
            'network must be in eval mode, got train mode: there the normalisation depends on '
            'the batch. Call eval() first.'
        )
    folded = copy.deepcopy(network)
    _fold_pyramids(folded)
    for module in folded.modules():
        if isinstance(module, nn.Sequential):
            _fold_neighbours(_chain(module))
    return folded


def _fold_pyramids(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, PyramidPool):
            setattr(module, name, FoldedPyramidPool(child).eval())
        else:
            _fold_pyramids(child)


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
    for (conv_owner, conv_name, conv), (norm_owner, norm_name, norm) in pairwise(chain):
        if isinstance(conv, Conv) and isinstance(norm, Norm) and norm.track_running_stats:
            setattr(conv_owner, conv_name, fold_pair(conv, norm))
            setattr(norm_owner, norm_name, nn.Identity())
