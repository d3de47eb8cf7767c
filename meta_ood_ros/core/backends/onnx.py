"""onnxruntime: needs no build step, and the way for a network of the user's own."""

from collections import OrderedDict
import copy
import importlib.util
from typing import Any

from meta_ood_ros.core.backends.backend import BackendDeviceError, BackendError, check_input
from meta_ood_ros.core.backends.onnx_export import INPUT, OUTPUT, to_onnx
from meta_ood_ros.core.networks.onnx_network import (
    CPU_PROVIDER,
    import_onnxruntime,
    make_session,
    OnnxNetwork,
)
import torch
from torch import nn, Tensor

CUDA_PROVIDER = 'CUDAExecutionProvider'
# Each input size has a graph and a copy of the weights; a robot's cameras have one or two.
MAX_SIZES = 4


class OnnxBackend:
    """
    A network run by onnxruntime, one graph for each input size.

    Parameters
    ----------
    network : Module
        Ours, exported at the first image of each size; or an `OnnxNetwork`, run as it is.
    device : torch.device
        'cuda' needs the package onnxruntime-gpu.
    precision : str
        'fp32'.

    """

    name = 'onnx'

    def __init__(self, network: nn.Module, *, device: torch.device, precision: str) -> None:
        check_precision(precision)
        self.precision = precision
        self.device = device
        self._provider = find_provider(device)
        is_own = isinstance(network, OnnxNetwork)
        self._network = network if is_own else copy.deepcopy(network).cpu().eval()
        self._sessions: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def __call__(self, x: Tensor) -> Tensor:
        """Return the float32 logits (N, C, h, w) of (N, 3, h0, w0), see `Backend`."""
        check_input(x)
        image = x.detach().to(device='cpu', dtype=torch.float32).contiguous().numpy()
        session = self._session(image.shape)
        if isinstance(self._network, OnnxNetwork):
            logits = self._network.run(session, image)
        else:
            (logits,) = session.run([OUTPUT], {INPUT: image})
        return torch.from_numpy(logits).to(self.device)

    def prepare(self, size: tuple[int, int], *, batch: int = 1) -> None:
        """Export for this size and run once, see `Backend`."""
        self(torch.zeros(batch, 3, *size))

    def _session(self, shape: tuple[int, ...]) -> Any:
        key = () if isinstance(self._network, OnnxNetwork) else shape
        if key not in self._sessions:
            self._sessions[key] = self._make_session(self._content(shape))
            if len(self._sessions) > MAX_SIZES:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(key)
        return self._sessions[key]

    def _make_session(self, content: bytes) -> Any:
        on_gpu = self._provider == CUDA_PROVIDER
        options = {'device_id': self.device.index or 0} if on_gpu else {}
        session = make_session(content, provider=self._provider, options=options)
        # Where the libraries of CUDA are missing, onnxruntime takes the CPU and says so to stderr.
        used = session.get_providers()[0]
        if used != self._provider:
            raise BackendDeviceError(
                f'backend onnx on {self.device} must run in {self._provider}, but onnxruntime '
                f'took {used}. Install the CUDA and cuDNN that this onnxruntime-gpu was built for.'
            )
        return session

    def _content(self, shape: tuple[int, ...]) -> bytes:
        if isinstance(self._network, OnnxNetwork):
            return self._network.content
        batch, channels, height, width = shape
        return to_onnx(self._network, (batch, channels, height, width))


def check_precision(precision: str) -> None:
    """Refuse a precision in which onnxruntime does not serve these networks, with the reason."""
    if precision == 'int8':
        raise BackendError(
            'precision of backend onnx must be fp32, got int8: quantised ESPNetv2 ran at half the '
            'speed (96 against 45 ms) and its entropy was off by 0.09 on average. Set precision '
            'to auto.'
        )
    if precision == 'bf16':
        raise BackendError(
            'precision of backend onnx must be fp32, got bf16: onnxruntime has no convolutions in '
            'bf16 on a CPU. Set precision to auto, or backend to openvino, eager or compile.'
        )
    if precision != 'fp32':
        raise BackendError(
            f'precision of backend onnx must be fp32, got {precision}. Set precision to auto, or '
            'choose the backend eager or compile for half precision.'
        )


def find_provider(device: torch.device) -> str:
    """Return the part of onnxruntime that serves a device, or say what to install."""
    if importlib.util.find_spec('onnxruntime') is None:
        package = 'onnxruntime-gpu' if device.type == 'cuda' else 'onnxruntime'
        raise BackendError(
            f'backend onnx needs the package {package}, which is not installed. '
            f'Run: pip install {package}'
        )
    if device.type == 'cpu':
        return CPU_PROVIDER
    available = import_onnxruntime().get_available_providers()
    if CUDA_PROVIDER not in available:
        raise BackendDeviceError(
            f'backend onnx on {device} needs {CUDA_PROVIDER}, but this onnxruntime has '
            f'{", ".join(available)}. Run: pip install onnxruntime-gpu'
        )
    return CUDA_PROVIDER
