"""torch.compile: fused kernels for fixed input sizes; on a GPU replayed as a CUDA graph."""

from collections import OrderedDict
from collections.abc import Callable
import importlib.util
import os
import shutil

from meta_ood_ros.core.backends.backend import BackendError, check_input
from meta_ood_ros.core.backends.eager import (
    autocast,
    check_precision,
    to_channels_last,
    to_inference,
)
import torch
from torch import nn, Tensor

# PyTorch compiles a function for eight input sizes and runs it layer by layer for any other. A
# CUDA graph holds the memory of a whole forward pass, so fewer of those are kept.
MAX_GRAPHS = 4
WARM_UP_RUNS = 3


class CompiledBackend:
    """
    A network compiled by TorchInductor for each input size it meets.

    The first image of a size waits for the compiler: about half a minute for ESPNetv2 on two CPU
    cores, less when PyTorch finds the kernels in its cache. `prepare` does it beforehand.

    Parameters
    ----------
    network : Module
        Copied; the original stays as it is.
    device : torch.device
        The CPU needs a C++ compiler, a GPU needs Triton.
    precision : str
        'fp32'; 'bf16'; 'fp16' on a GPU.

    """

    name = 'compile'

    def __init__(self, network: nn.Module, *, device: torch.device, precision: str) -> None:
        self.device = device
        self.precision = check_precision(self.name, precision, device)
        check_toolchain(device)
        network = to_inference(network, device=device, precision=precision)
        self._compiled = torch.compile(network, dynamic=False)
        self._graphs: OrderedDict[tuple[int, ...], _CudaGraph] = OrderedDict()

    def __call__(self, x: Tensor) -> Tensor:
        """Return the float32 logits (N, C, h, w) of (N, 3, h0, w0), see `Backend`."""
        check_input(x)
        x = to_channels_last(x, self.device)
        return self._run(x) if self.device.type == 'cpu' else self._replay(x)

    def prepare(self, size: tuple[int, int], *, batch: int = 1) -> None:
        """Compile for this size, see `Backend`."""
        self(torch.zeros(batch, 3, *size))

    def _run(self, x: Tensor) -> Tensor:
        try:
            with torch.inference_mode(), autocast(self.device, self.precision):
                return self._compiled(x).float()
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            raise BackendError(
                f'backend compile could not compile the network for {tuple(x.shape)}: {reason} '
                'Set backend to auto.'
            ) from error

    def _replay(self, x: Tensor) -> Tensor:
        key = tuple(x.shape)
        # One mode for all: what is recorded under inference_mode cannot be written to outside it.
        with torch.inference_mode(), torch.cuda.device(x.device):
            if key not in self._graphs:
                self._graphs[key] = _CudaGraph(self._run, x)
                if len(self._graphs) > MAX_GRAPHS:
                    self._graphs.popitem(last=False)
            self._graphs.move_to_end(key)
            return self._graphs[key](x)


class _CudaGraph:
    """
    One recorded forward pass: hundreds of kernels for the price of one launch.

    Recorded by hand rather than with mode='reduce-overhead', whose graphs may only be replayed
    by the thread that made them: a node configures and runs in different threads.
    """

    def __init__(self, run: Callable[[Tensor], Tensor], x: Tensor) -> None:
        self._input = x.clone()
        side = torch.cuda.Stream(x.device)
        side.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_RUNS):  # compiles, and lets the libraries choose kernels
                run(self._input)
        torch.cuda.current_stream(x.device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        # PyTorch's own stream for recording belongs to the GPU that recorded first.
        with torch.cuda.graph(self._graph, stream=side):
            self._output = run(self._input)

    def __call__(self, x: Tensor) -> Tensor:
        self._input.copy_(x)
        self._graph.replay()
        # The next replay writes to the same place.
        return self._output.clone()


def check_toolchain(device: torch.device) -> None:
    """Refuse a machine on which nothing can be compiled, and say what to install."""
    if device.type == 'cuda':
        if importlib.util.find_spec('triton') is None:
            raise BackendError(
                'backend compile on a GPU needs the package triton, which is not installed. '
                'Run: pip install triton'
            )
        return
    compiler = os.environ.get('CXX', 'g++')
    if shutil.which(compiler) is None:
        raise BackendError(
            f'backend compile on the CPU needs a C++ compiler, but {compiler} is not installed. '
            'Run: apt install g++'
        )
