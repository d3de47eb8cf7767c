"""
TensorRT on an NVIDIA GPU: engines built for one GPU and one input size, kept on disk.

The engine is built from the same ONNX graph that onnxruntime runs, and run by torch2trt's
TRTModule. torch2trt's own layer converters are not used: they upsample without align_corners and
know adaptive pooling only for windows of equal size, so ESPNetv2 would give other logits.
"""

from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext
import copy
import importlib
import logging
from typing import Any

from meta_ood_ros.core.backends.backend import BackendError, check_input
from meta_ood_ros.core.backends.engine_cache import EngineCache, EngineKey, hash_network
from meta_ood_ros.core.backends.onnx_export import (
    INPUT,
    OUTPUT,
    to_module_name,
    to_onnx,
)
from meta_ood_ros.core.networks.linear_attention import LinearAttention
from meta_ood_ros.core.networks.onnx_network import OnnxNetwork
import torch
from torch import nn, Tensor

logger = logging.getLogger(__name__)

# An engine with its working memory takes some hundred MB of the GPU.
MAX_ENGINES = 4
INSTALL = {
    'tensorrt': 'pip install "tensorrt>=8.6,<11"',
    'torch2trt': 'pip install git+https://github.com/NVIDIA-AI-IOT/torch2trt',
}


class TensorRtBackend:
    """
    A network built into a TensorRT engine for each input size it meets.

    Building takes minutes; `prepare` does it beforehand, and the engine is found again at the
    next start unless network, GPU, TensorRT version, precision or size have changed.

    Parameters
    ----------
    network : Module
        Ours or an `OnnxNetwork`; copied.
    device : torch.device
        An NVIDIA GPU.
    precision : str
        'fp32' or 'fp16'; inputs and logits are float32 all the same.
    engine_cache : str
        Folder of engines; '' is meta_ood below the XDG cache folder.

    """

    name = 'tensorrt'

    def __init__(
        self, network: nn.Module, *, device: torch.device, precision: str, engine_cache: str = ''
    ) -> None:
        self.device = device
        self.precision = check_precision(precision)
        self._gpu = describe_gpu(device)
        self._tensorrt = _import('tensorrt')
        self._module_class = _import('torch2trt').TRTModule
        is_own = isinstance(network, OnnxNetwork)
        self._network = network if is_own else copy.deepcopy(network).cpu().eval()
        self._hash = hash_network(network)
        self._cache = EngineCache(engine_cache)
        self._modules: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def __call__(self, x: Tensor) -> Tensor:
        """Return the float32 logits (N, C, h, w) of (N, 3, h0, w0), see `Backend`."""
        check_input(x)
        x = x.detach().to(device=self.device, dtype=torch.float32).contiguous()
        batch, channels, height, width = x.shape
        with torch.inference_mode(), self._on_device():
            return self._module((batch, channels, height, width))(x).float()

    def prepare(self, size: tuple[int, int], *, batch: int = 1) -> None:
        """Build and store the engine, or load it: all that the parameter build_only asks for."""
        with self._on_device():
            self._module((batch, 3, *size))

    def _on_device(self) -> AbstractContextManager[object]:
        is_gpu = self.device.type == 'cuda'  # not so for the stand-in of the tests
        return torch.cuda.device(self.device) if is_gpu else nullcontext()

    def _module(self, shape: tuple[int, int, int, int]) -> Any:
        if shape not in self._modules:
            names = _names(self._network)
            engine = self._engine(shape)
            module = self._module_class(engine, [names[0]], [names[1]])
            if module.context is None:
                raise BackendError(
                    f'TensorRT {self._tensorrt.__version__} found too little memory on '
                    f'{self._gpu} to run the engine for {shape}. Free memory on the GPU, or set '
                    'a smaller work_short_side.'
                )
            self._modules[shape] = module
            if len(self._modules) > MAX_ENGINES:
                self._modules.popitem(last=False)
        self._modules.move_to_end(shape)
        return self._modules[shape]

    def _engine(self, shape: tuple[int, int, int, int]) -> Any:
        trt = self._tensorrt
        key = EngineKey(self._hash, self.name, self._gpu, trt.__version__, self.precision, shape)
        runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        content = self._cache.load(key)
        engine = None if content is None else runtime.deserialize_cuda_engine(content)
        if engine is None:
            logger.info('Building a TensorRT engine for %s; this takes minutes.', shape)
            content = self._build(shape)
            self._cache.store(key, content)
            engine = runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise BackendError(
                f'TensorRT {trt.__version__} cannot load the engine it has just built for {shape}.'
                ' Set backend to auto.'
            )
        return engine

    def _build(self, shape: tuple[int, int, int, int]) -> bytes:
        trt = self._tensorrt
        log = trt.Logger(trt.Logger.ERROR)
        builder = trt.Builder(log)
        graph = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
        parser = trt.OnnxParser(graph, log)
        if not parser.parse(_content(self._network, shape)):
            reasons = '; '.join(str(parser.get_error(i)) for i in range(parser.num_errors))
            raise BackendError(
                f'TensorRT {trt.__version__} cannot read the network: {reasons}. '
                'Set backend to auto.'
            )
        # torch2trt gives memory to the outputs that it is told of, and others would have none.
        for index in reversed(range(graph.num_outputs)):
            output = graph.get_output(index)
            if output.name != _names(self._network)[1]:
                graph.unmark_output(output)
        config = builder.create_builder_config()
        if self.precision == 'fp16':
            if not hasattr(trt.BuilderFlag, 'FP16'):
                raise BackendError(
                    f'precision fp16 of backend tensorrt needs TensorRT 8.6 to 10, got '
                    f'{trt.__version__}, which takes the precision from the network alone. '
                    f'Run: {INSTALL["tensorrt"]}, or set precision to fp32.'
                )
            config.set_flag(trt.BuilderFlag.FP16)
            if _keep_attention_wide(trt, graph, self._network):
                config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
        profile = builder.create_optimization_profile()
        profile.set_shape(_names(self._network)[0], shape, shape, shape)
        config.add_optimization_profile(profile)
        engine = builder.build_serialized_network(graph, config)
        if engine is None:
            raise BackendError(
                f'TensorRT {trt.__version__} cannot build an engine for {shape} on {self._gpu}. '
                'Free memory on the GPU, or set backend to auto.'
            )
        return bytes(engine)


def _keep_attention_wide(trt: Any, graph: Any, network: nn.Module) -> int:
    """
    Have linear attention computed in fp32, whose sums leave fp16; return the number of layers.

    Tried with a stand-in only: whether TensorRT obeys, the self-check says on the robot.
    """
    wide = {name for name, one in network.named_modules() if isinstance(one, LinearAttention)}
    count = 0
    for index in range(graph.num_layers):
        layer = graph.get_layer(index)
        outputs = [layer.get_output(i) for i in range(layer.num_outputs)]
        # Constants and shapes, of which some are integers, are not computed with.
        if layer.type in (trt.LayerType.CONSTANT, trt.LayerType.SHAPE):
            continue
        is_float = all(one.dtype == trt.float32 for one in outputs)
        if is_float and to_module_name(layer.name) in wide:
            layer.precision = trt.float32
            for i in range(layer.num_outputs):
                layer.set_output_type(i, trt.float32)
            count += 1
    return count


def check_precision(precision: str) -> str:
    """Return a precision in which engines are built, or refuse it with the reason."""
    if precision == 'int8':
        raise BackendError(
            'precision of backend tensorrt must be fp32 or fp16, got int8: it needs images to '
            'calibrate with, and a bundle holds none. Set precision to auto.'
        )
    if precision not in ('fp32', 'fp16'):
        raise BackendError(
            f'precision of backend tensorrt must be fp32 or fp16, got {precision}. '
            'Set precision to auto.'
        )
    return precision


def describe_gpu(device: torch.device) -> str:
    """Return name and compute capability of a GPU, or refuse another device."""
    if device.type != 'cuda':
        raise BackendError(
            f'backend tensorrt needs an NVIDIA GPU, got device {device}. Set backend to auto.'
        )
    major, minor = torch.cuda.get_device_capability(device)
    return f'{torch.cuda.get_device_name(device)}, compute capability {major}.{minor}'


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    # AttributeError: torch2trt looks up what another TensorRT does not have
    except (ImportError, AttributeError) as error:
        raise BackendError(
            f'backend tensorrt needs the package {name}, which cannot be imported ({error}). '
            f'Run: {INSTALL[name]}'
        ) from error


def _names(network: nn.Module) -> tuple[str, str]:
    if isinstance(network, OnnxNetwork):
        return network.input_name, network.output_name
    return INPUT, OUTPUT


def _content(network: nn.Module, shape: tuple[int, int, int, int]) -> bytes:
    return network.content if isinstance(network, OnnxNetwork) else to_onnx(network, shape)
