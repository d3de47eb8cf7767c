"""OpenVINO: quick to build without a compiler, on any x86-64 or ARM CPU and on Intel GPUs."""

from collections import OrderedDict
import copy
import importlib
import io
import logging
import threading
from typing import Any

from meta_ood_ros.core.backends.backend import BackendDeviceError, BackendError, check_input
from meta_ood_ros.core.backends.engine_cache import EngineCache, EngineKey, hash_network
from meta_ood_ros.core.backends.onnx_export import to_onnx
from meta_ood_ros.core.error_text import first_line
from meta_ood_ros.core.networks.onnx_network import OnnxNetwork
import torch
from torch import nn, Tensor

logger = logging.getLogger(__name__)

# Each input size has a graph and a copy of the weights; a robot's cameras have one or two.
MAX_SIZES = 4
HINTS = {'fp32': 'f32', 'fp16': 'f16', 'bf16': 'bf16'}


class OpenVinoBackend:
    """
    A network compiled by OpenVINO for each input size it meets.

    The first image of a size waits for the export and the compiler, some seconds together.
    `prepare` does it beforehand, and what was compiled is found again at the next start, as with
    TensorRT.

    Parameters
    ----------
    network : Module
        Ours or an `OnnxNetwork`; copied.
    device : torch.device
        'cpu', or 'xpu' for an Intel GPU, whose images and logits are on the CPU all the same.
    precision : str
        'fp32'; 'bf16' where the processor computes with it; 'fp16' on a GPU.
    engine_cache : str
        Folder of engines; '' is meta_ood below the XDG cache folder.

    """

    name = 'openvino'
    device = torch.device('cpu')

    def __init__(
        self, network: nn.Module, *, device: torch.device, precision: str, engine_cache: str = ''
    ) -> None:
        openvino = _import()
        self._version = openvino.__version__
        self._core = openvino.Core()
        self._place = find_place(self._core, device)
        self.precision = check_precision(self._core, self._place, precision)
        is_own = isinstance(network, OnnxNetwork)
        self._network = network if is_own else copy.deepcopy(network).cpu().eval()
        self._hash = hash_network(network)
        self._cache = EngineCache(engine_cache)
        self._requests: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._lock = threading.Lock()  # a request serves one caller at a time

    def __call__(self, x: Tensor) -> Tensor:
        """Return the float32 logits (N, C, h, w) of (N, 3, h0, w0), see `Backend`."""
        check_input(x)
        image = x.detach().to(device='cpu', dtype=torch.float32).contiguous().numpy()
        batch, channels, height, width = image.shape
        with self._lock:
            request = self._request((batch, channels, height, width))
            try:
                result = request.infer([image], share_inputs=True)
            except RuntimeError as error:
                raise BackendError(
                    f'backend openvino could not run the network for {image.shape}: '
                    f'{first_line(error)}. Set backend to auto.'
                ) from error
            return torch.from_numpy(result[0])  # a copy: the next image writes elsewhere

    def prepare(self, size: tuple[int, int], *, batch: int = 1) -> None:
        """Compile and store the engine, or load it: all that build_only asks for."""
        with self._lock:
            self._request((batch, 3, *size))

    def _request(self, shape: tuple[int, int, int, int]) -> Any:
        if shape not in self._requests:
            self._requests[shape] = self._engine(shape).create_infer_request()
            if len(self._requests) > MAX_SIZES:
                self._requests.popitem(last=False)
        self._requests.move_to_end(shape)
        return self._requests[shape]

    def _engine(self, shape: tuple[int, int, int, int]) -> Any:
        name = describe_place(self._core, self._place)
        key = EngineKey(self._hash, self.name, name, self._version, self.precision, shape)
        content = self._cache.load(key)
        if content is not None:
            try:
                return self._core.import_model(io.BytesIO(content), self._place, self._config())
            except RuntimeError as error:
                logger.warning(
                    '%s cannot be loaded (%s) and is made again.', key.file_name, first_line(error)
                )
        engine = self._build(shape)
        stream = io.BytesIO()
        engine.export_model(stream)
        self._cache.store(key, stream.getvalue())
        return engine

    def _build(self, shape: tuple[int, int, int, int]) -> Any:
        is_own = isinstance(self._network, OnnxNetwork)
        content = self._network.content if is_own else to_onnx(self._network, shape)
        try:
            model = self._core.read_model(content)
            model.reshape({model.inputs[0]: list(shape)})  # a file may leave sides open
            return self._core.compile_model(model, self._place, self._config())
        except RuntimeError as error:
            raise BackendError(
                f'OpenVINO {self._version} cannot build the network for {shape}: '
                f'{first_line(error)}. Set backend to auto.'
            ) from error

    def _config(self) -> dict[str, object]:
        config: dict[str, object] = {
            # Said always: OpenVINO computes in bf16 or fp16 by itself where the device can.
            'INFERENCE_PRECISION_HINT': HINTS[self.precision],
            'PERFORMANCE_HINT': 'LATENCY',
        }
        if self._place == 'CPU':
            config |= {
                'INFERENCE_NUM_THREADS': torch.get_num_threads(),
                'NUM_STREAMS': 1,
                # Threads tied to cores would wait for whatever else the robot runs there.
                'ENABLE_CPU_PINNING': False,
            }
        return config


def find_place(core: Any, device: torch.device) -> str:
    """Return OpenVINO's name of a device, or say which ones it has."""
    wanted = {'cpu': 'CPU', 'xpu': f'GPU.{device.index or 0}'}.get(device.type)
    available = list(core.available_devices)
    # A single GPU is listed without a number.
    names = [f'{one}.0' if one == 'GPU' else one for one in available]
    if wanted is None or wanted not in names:
        raise BackendDeviceError(
            f'backend openvino must run on a CPU or an Intel GPU that it finds, got {device}; it '
            f'finds {", ".join(available) or "none"}. Set device to cpu, or install the driver '
            'of the Intel GPU.'
        )
    return wanted


def describe_place(core: Any, place: str) -> str:
    """Return the name of a processor and what it can, on which a compiled network depends."""
    abilities = sorted(core.get_property(place, 'OPTIMIZATION_CAPABILITIES'))
    return f'{core.get_property(place, "FULL_DEVICE_NAME")} ({", ".join(abilities)})'


def check_precision(core: Any, place: str, precision: str) -> str:
    """Return a precision in which this device serves these networks, or refuse it."""
    if precision == 'int8':
        raise BackendError(
            'precision of backend openvino must be fp32, bf16 or fp16, got int8: quantised '
            'networks fail the self-check (entropy off by 0.04 and more on average). Set '
            'precision to auto.'
        )
    if precision == 'fp16' and place == 'CPU':
        raise BackendError(
            'precision of backend openvino on the CPU must be fp32 or bf16, got fp16. '
            'Set precision to auto.'
        )
    abilities = list(core.get_property(place, 'OPTIMIZATION_CAPABILITIES'))
    if precision != 'fp32' and precision.upper() not in abilities:
        raise BackendError(
            f'precision {precision} of backend openvino needs a processor that computes with it, '
            f'got {core.get_property(place, "FULL_DEVICE_NAME")}, which has '
            f'{", ".join(sorted(abilities))}. Set precision to auto.'
        )
    return precision


def _import() -> Any:
    try:
        return importlib.import_module('openvino')
    except ImportError as error:
        raise BackendError(
            f'backend openvino needs the package openvino, which cannot be imported ({error}). '
            'Run: pip install openvino'
        ) from error
