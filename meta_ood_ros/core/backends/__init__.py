"""
How a network runs: one interface, chosen by name, each absence explained.

1. `device`      the word in the parameter -> a device that is really there
2. `backend`     what every backend offers, and the error that all of them raise
3. `eager`       PyTorch as it is, the reference; `compiled`: torch.compile
4. `onnx`        onnxruntime, on the graph that `onnx_export` writes
5. `tensorrt`    engines, kept on disk by `engine_cache`
6. `fold`        the same function in fewer layers: `fold_pair`, `fold_pyramid`
7. `agreement`   does a backend say the same as the reference?
"""

from meta_ood_ros.core.backends.agreement import self_check, SelfCheck, TOLERANCES
from meta_ood_ros.core.backends.backend import (
    Backend,
    BackendDeviceError,
    BackendError,
    PRECISIONS,
)
from meta_ood_ros.core.backends.compiled import CompiledBackend
from meta_ood_ros.core.backends.device import resolve_device, ResolvedDevice
from meta_ood_ros.core.backends.eager import EagerBackend
from meta_ood_ros.core.backends.onnx import OnnxBackend
from meta_ood_ros.core.backends.tensorrt import TensorRtBackend
from meta_ood_ros.core.networks.onnx_network import OnnxNetwork
import torch
from torch import nn

BACKEND_NAMES = ('eager', 'compile', 'onnx', 'tensorrt')

__all__ = [
    'BACKEND_NAMES',
    'PRECISIONS',
    'TOLERANCES',
    'Backend',
    'BackendDeviceError',
    'BackendError',
    'ResolvedDevice',
    'SelfCheck',
    'load_backend',
    'resolve_device',
    'self_check',
]


def load_backend(
    name: str,
    network: nn.Module,
    *,
    device: str | torch.device = 'auto',
    precision: str = 'auto',
    engine_cache: str = '',
) -> Backend:
    """
    Make a network ready to run.

    Parameters
    ----------
    name : str
        One of BACKEND_NAMES, or 'auto': the fastest that needs no build step, which is eager, or
        onnx for an `OnnxNetwork`.
    network : OodNetwork
        Left as it is.
    device : str or torch.device
        'auto', 'cpu', 'cuda' or 'cuda:N', see `resolve_device`.
    precision : str
        One of PRECISIONS, or 'auto': fp16 on a GPU, fp32 on a CPU and in onnx.
    engine_cache : str
        Folder in which tensorrt keeps its engines; '' is meta_ood below the XDG cache folder.

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
        raise BackendError(
            f'precision must be one of {known}, got {precision!r}. Check its spelling.'
        )
    place = resolve_device(device).device
    is_onnx_file = isinstance(network, OnnxNetwork)
    if is_onnx_file and name in ('eager', 'compile'):
        raise BackendError(
            f'backend of a network from an ONNX file must be auto, onnx or tensorrt, got {name}: '
            'PyTorch cannot run it. Set backend to auto.'
        )
    if name == 'auto':
        name = 'onnx' if is_onnx_file else 'eager'
    if precision == 'auto':
        precision = 'fp16' if place.type == 'cuda' and name != 'onnx' else 'fp32'
    if name == 'onnx':
        return OnnxBackend(network, device=place, precision=precision)
    if name == 'tensorrt':
        return TensorRtBackend(
            network, device=place, precision=precision, engine_cache=engine_cache
        )
    if name == 'compile':
        return CompiledBackend(network, device=place, precision=precision)
    return EagerBackend(network, device=place, precision=precision)
