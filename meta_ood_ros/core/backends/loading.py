"""The name of a backend -> a network ready to run."""

from meta_ood_ros.core.backends.backend import Backend, BackendError, PRECISIONS
from meta_ood_ros.core.backends.compiled import CompiledBackend
from meta_ood_ros.core.backends.device import resolve_device
from meta_ood_ros.core.backends.eager import EagerBackend
from meta_ood_ros.core.backends.onnx import OnnxBackend
from meta_ood_ros.core.backends.openvino import OpenVinoBackend
from meta_ood_ros.core.backends.tensorrt import TensorRtBackend
from meta_ood_ros.core.networks.onnx_network import OnnxNetwork
import torch
from torch import nn

BACKEND_NAMES = ('eager', 'compile', 'onnx', 'openvino', 'tensorrt')


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
        One of BACKEND_NAMES, or 'auto': what needs no build step, which is eager, onnx for an
        `OnnxNetwork`, openvino on an Intel GPU. Nothing is measured here: `choose_backend` does
        that, and the node asks for it.
    network : OodNetwork
        Left as it is.
    device : str or torch.device
        'auto', 'cpu', 'cuda', 'cuda:N' or 'xpu:N', see `resolve_device`.
    precision : str
        One of PRECISIONS, or 'auto': fp16 on a GPU, fp32 elsewhere and in onnx.
    engine_cache : str
        Folder in which tensorrt and openvino keep their engines; '' is meta_ood below the XDG
        cache folder.

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
            'backend of a network from an ONNX file must be auto, onnx, openvino or tensorrt, got '
            f'{name}: PyTorch cannot run it. Set backend to auto.'
        )
    is_intel_gpu = place.type == 'xpu'
    if name == 'auto':
        name = 'openvino' if is_intel_gpu else 'onnx' if is_onnx_file else 'eager'
    if is_intel_gpu and name != 'openvino':
        raise BackendError(
            f'backend on {place} must be openvino, got {name}: no other one runs on an Intel GPU. '
            'Set backend to auto, or device to cpu.'
        )
    if precision == 'auto':
        precision = 'fp16' if place.type == 'cuda' and name != 'onnx' else 'fp32'
    if name == 'onnx':
        return OnnxBackend(network, device=place, precision=precision)
    if name in ('openvino', 'tensorrt'):
        builder = OpenVinoBackend if name == 'openvino' else TensorRtBackend
        return builder(network, device=place, precision=precision, engine_cache=engine_cache)
    if name == 'compile':
        return CompiledBackend(network, device=place, precision=precision)
    return EagerBackend(network, device=place, precision=precision)
