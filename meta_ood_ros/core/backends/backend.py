"""What every backend offers, and the error that all of them raise."""

from typing import Protocol

import torch
from torch import Tensor

PRECISIONS = ('fp32', 'fp16', 'bf16', 'int8')


class BackendError(ValueError):
    """A backend, device or precision that cannot be had here; the message says what to do."""


class BackendDeviceError(BackendError):
    """A backend that runs on this machine, but not on the device asked for."""


class Backend(Protocol):
    """
    A network made ready to run: normalised image in, float32 logits out.

    Attributes
    ----------
    name : str
        'eager', 'compile', 'onnx', 'openvino' or 'tensorrt'.
    precision : str
        One of PRECISIONS: the arithmetic inside; the logits are float32 all the same.
    device : torch.device
        Where inputs are best prepared and where the logits are.

    """

    name: str
    precision: str
    device: torch.device

    def __call__(self, x: Tensor) -> Tensor:
        """
        Return the logits of a batch.

        Parameters
        ----------
        x : Tensor of shape (N, 3, h0, w0), float32
            Normalised RGB, on any device.

        Returns
        -------
        Tensor of shape (N, C, h, w), float32
            Unbounded scores before the softmax, on `device`.

        """

    def prepare(self, size: tuple[int, int], *, batch: int = 1) -> None:
        """
        Do now what the first image of this size would otherwise wait for.

        Parameters
        ----------
        size : (int, int)
            Height and width of the network's input, in pixels.
        batch : int
            N.

        """


def check_input(x: Tensor) -> None:
    """Refuse what is not a batch of RGB images in floating point."""
    if x.ndim != 4 or x.shape[1] != 3 or 0 in x.shape or not x.is_floating_point():
        raise ValueError(
            'Network input must have the shape (N, 3, h0, w0) and a floating point type, got '
            f'{tuple(x.shape)} {x.dtype}. Make it with to_network_input.'
        )
