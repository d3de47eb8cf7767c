"""How a network runs: one interface, chosen by name, each absence explained."""

from typing import Any

from meta_ood_ros.core.backends.backend import Backend, BackendError, PRECISIONS
from meta_ood_ros.core.backends.device import resolve_device, ResolvedDevice
from meta_ood_ros.core.backends.eager import EagerBackend
import torch
from torch import nn

BACKEND_NAMES = ('eager', 'compile', 'onnx', 'tensorrt')

__all__ = [
    'BACKEND_NAMES',
    'PRECISIONS',
    'Backend',
    'BackendError',
    'ResolvedDevice',
    'load_backend',
    'resolve_device',
]


def load_backend(
    name: str,
    network: nn.Module,
    *,
    device: str | torch.device = 'auto',
    precision: str = 'auto',
    **options: Any,
) -> Backend:
    """
    Make a network ready to run.

    Parameters
    ----------
    name : str
        One of BACKEND_NAMES, or 'auto': the fastest that needs no build step, eager.
    network : OodNetwork
        Copied; the original stays as it is.
    device : str or torch.device
        'auto', 'cpu', 'cuda' or 'cuda:N', see `resolve_device`.
    precision : str
        One of PRECISIONS, or 'auto': fp16 on a GPU, fp32 on a CPU.
    **options
        What the chosen backend takes besides.

    Returns
    -------
    Backend
        Callable: (N, 3, h0, w0) -> float32 logits (N, C, h, w).

    Raises
    ------
    BackendError
        The backend, device or precision is unknown or not to be had here, with the reason.

    """
    if name not in (*BACKEND_NAMES, 'auto'):
        known = ', '.join(('auto', *BACKEND_NAMES))
        raise BackendError(f'backend must be one of {known}, got {name!r}. Check its spelling.')
    if precision not in (*PRECISIONS, 'auto'):
        known = ', '.join(('auto', *PRECISIONS))
        raise BackendError(f'precision must be one of {known}, got {precision!r}.')
    place = resolve_device(device).device
    if precision == 'auto':
        precision = 'fp16' if place.type == 'cuda' else 'fp32'
    if name in ('auto', 'eager'):
        if options:
            raise BackendError(
                f'backend eager takes no options, got {", ".join(options)}. Remove them.'
            )
        return EagerBackend(network, device=place, precision=precision)
    raise BackendError(f'backend {name} is not built yet. Set backend to auto or eager.')
