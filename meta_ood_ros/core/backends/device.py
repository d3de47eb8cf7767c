"""The word in the parameter `device` -> a device that is really there."""

from dataclasses import dataclass
import re

from meta_ood_ros.core.backends.backend import BackendError
import torch


@dataclass(frozen=True)
class ResolvedDevice:
    """
    Where the network runs.

    Parameters
    ----------
    device : torch.device
        'cpu', 'cuda:N' or 'xpu:N'.
    is_fallback : bool
        True if 'auto' found no GPU: a robot should then hear a warning.

    """

    device: torch.device
    is_fallback: bool = False


def resolve_device(name: str | torch.device) -> ResolvedDevice:
    """
    Return the device that a name stands for, or refuse it in one sentence.

    Parameters
    ----------
    name : str or torch.device
        'auto' (the first GPU of NVIDIA, else the CPU), 'cpu', 'cuda' (the first GPU), 'cuda:N', or
        'xpu' or 'xpu:N', an Intel GPU, on which only openvino runs and which it looks for.

    Returns
    -------
    ResolvedDevice
        With `is_fallback` where 'auto' had to take the CPU.

    """
    name = str(name)
    if name == 'cpu':
        return ResolvedDevice(torch.device('cpu'))
    if intel := re.fullmatch(r'xpu(?::(\d+))?', name):
        return ResolvedDevice(torch.device('xpu', int(intel.group(1) or 0)))
    match = re.fullmatch(r'cuda(?::(\d+))?', name)
    if match is None and name != 'auto':
        raise BackendError(
            f'device must be auto, cpu, cuda, cuda:N or xpu:N, got {name!r}. Other accelerators '
            'are not supported.'
        )
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if match is None:
        if count:
            return ResolvedDevice(torch.device('cuda', 0))
        return ResolvedDevice(torch.device('cpu'), is_fallback=True)
    index = int(match.group(1) or 0)
    if index >= count:
        reason = (
            f'{count} found'
            if count or torch.version.cuda
            else 'this PyTorch is built for the CPU only'
        )
        raise BackendError(
            f'device must be a GPU that is there, got {name!r}: {reason}. Set device to auto or '
            'cpu, or check nvidia-smi and install a PyTorch with CUDA.'
        )
    return ResolvedDevice(torch.device('cuda', index))
