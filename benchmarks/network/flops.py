"""Network -> floating point operations of a forward pass, without running it."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_flops(network: nn.Module, size: tuple[int, int]) -> int:
    """Return the operations of the convolutions and matrix products for one image."""
    shapes = copy.deepcopy(network).eval().to('meta')
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        shapes(torch.empty(1, 3, *size, device='meta'))
    return counter.get_total_flops()
