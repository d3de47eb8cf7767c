"""Tensors on a GPU -> host memory."""

from collections.abc import Sequence

import torch
from torch import Tensor


def to_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors in host memory."""
    if tensors[0].device.type != 'cuda':
        return [values.cpu() for values in tensors]
    # page-locked memory, which torch keeps for reuse, is copied to without a detour; and one wait
    # serves all of them
    hosts = [torch.empty(one.shape, dtype=one.dtype, pin_memory=True) for one in tensors]
    for host, values in zip(hosts, tensors, strict=True):
        host.copy_(values, non_blocking=True)
    torch.cuda.current_stream(tensors[0].device).synchronize()
    return hosts
