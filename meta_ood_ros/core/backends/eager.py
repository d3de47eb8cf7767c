"""PyTorch as it is: no build step, any input size. The reference that other backends meet."""

from contextlib import AbstractContextManager, nullcontext
import copy

from meta_ood_ros.core.backends.backend import BackendError, check_input
from meta_ood_ros.core.backends.fold import fold_batch_norms, Network
import torch
from torch import nn, Tensor

DTYPES = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}


class EagerBackend:
    """
    A network run by PyTorch, layer by layer.

    Parameters
    ----------
    network : Module
        Copied; the original stays as it is.
    device : torch.device
        Where the copy lives.
    precision : str
        'fp32'; 'bf16'; 'fp16' on a GPU.

    """

    name = 'eager'

    def __init__(self, network: nn.Module, *, device: torch.device, precision: str) -> None:
        self.device = device
        self.precision = check_precision(self.name, precision, device)
        self._network = to_inference(network, device=device, precision=precision)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the float32 logits (N, C, h, w) of (N, 3, h0, w0), see `Backend`."""
        check_input(x)
        with torch.inference_mode(), autocast(self.device, self.precision):
            return self._network(to_channels_last(x, self.device)).float()

    def prepare(self, size: tuple[int, int], *, batch: int = 1) -> None:
        """Run once, so that the libraries choose their kernels, see `Backend`."""
        self(torch.zeros(batch, 3, *size))


def check_precision(backend: str, precision: str, device: torch.device) -> str:
    """Return a precision that PyTorch runs on this device, or refuse it with the reason."""
    if precision == 'int8':
        raise BackendError(
            f'precision of backend {backend} must be fp32, fp16 or bf16, got int8: PyTorch runs '
            'these networks in floating point only. No backend serves int8 yet: choose fp32.'
        )
    if precision == 'fp16' and device.type == 'cpu':
        raise BackendError(
            f'precision of backend {backend} on the CPU must be fp32 or bf16, got fp16: CPUs '
            'compute fp16 by converting to fp32 and back. Set precision to auto.'
        )
    return precision


def to_inference(network: Network, *, device: torch.device, precision: str) -> Network:
    """
    Return a copy of a network for inference only: normalisations folded, channels last.

    Parameters
    ----------
    precision : str
        'fp32', 'fp16' or 'bf16': type of the convolutions' weights. Under `autocast` they would
        be converted at every call otherwise.

    """
    if network.training:
        network = copy.deepcopy(network).eval()
    inference = fold_batch_norms(network).requires_grad_(False)
    inference = inference.to(device)
    for module in inference.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            module.to(dtype=DTYPES[precision])
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    return inference


def to_channels_last(x: Tensor, device: torch.device) -> Tensor:
    """Return (N, 3, h0, w0) as float32 on a device, channels last in memory."""
    return x.to(device=device, dtype=torch.float32).contiguous(memory_format=torch.channels_last)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the context in which PyTorch computes with this precision."""
    if precision == 'fp32':
        return nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[precision])
