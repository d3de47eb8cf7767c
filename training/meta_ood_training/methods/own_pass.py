"""The network as a method runs it itself: with gradients to the image, hooks, layer by layer."""

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.image import to_network_input
from meta_ood_ros.core.kernels.host_copy import to_host
from meta_ood_ros.core.kernels.strips import upsampled_strips
from meta_ood_ros.core.networks import OnnxNetwork, OodNetwork
from meta_ood_training.methods.method import MethodNeedsError, Setup
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor


class OwnPass:
    """
    A network of its own, with the layers that it was trained with, and its input.

    Parameters
    ----------
    network : OodNetwork
        In eval mode; its weights are frozen here.
    input_mean, input_std : tuple of 3 float
        Of RGB values in [0, 1].

    """

    def __init__(
        self,
        network: OodNetwork,
        *,
        input_mean: tuple[float, float, float] | None = None,
        input_std: tuple[float, float, float] | None = None,
        device: torch.device | str = 'cpu',
    ) -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.input_mean = input_mean or network.input_mean
        self.input_std = input_std or network.input_std
        self.device = torch.device(device)

    @classmethod
    def of(cls, setup: Setup, method: str) -> 'OwnPass':
        """Return that of a bundle, or say that an ONNX file cannot be looked into."""
        return cls.of_bundle(setup.bundle, method, next_device(setup.network))

    @classmethod
    def of_bundle(cls, bundle: Bundle, method: str, device: torch.device | str) -> 'OwnPass':
        """Return that of a bundle, or say that an ONNX file cannot be looked into."""
        network = bundle.build_network()
        if isinstance(network, OnnxNetwork):
            raise _no_layers(method)
        return cls(
            network, input_mean=bundle.input_mean, input_std=bundle.input_std, device=device
        )

    @classmethod
    def of_running(cls, setup: Setup, method: str) -> 'OwnPass':
        """Return that of the network that runs, whose normalisations are folded: faster."""
        if isinstance(setup.network, OnnxNetwork):
            raise _no_layers(method)
        bundle, device = setup.bundle, next_device(setup.network)
        return cls(
            setup.network, input_mean=bundle.input_mean, input_std=bundle.input_std, device=device
        )

    @property
    def align_corners(self) -> bool:
        return self.network.align_corners

    def to_input(self, image: NDArray[np.uint8]) -> Tensor:
        """Return an image (H, W, 3) on the work grid as the network's input (1, 3, H, W)."""
        return to_network_input(
            image, mean=self.input_mean, std=self.input_std, device=self.device
        )


def _no_layers(method: str) -> MethodNeedsError:
    return MethodNeedsError(
        f'{method} needs the layers and gradients of the network, got an ONNX file, which '
        'gives neither. Make the bundle from a checkpoint.'
    )


def next_device(network: OodNetwork) -> torch.device:
    """Return where a network lies."""
    return next((one.device for one in network.parameters()), torch.device('cpu'))


def upsampled(
    scores: Tensor, size: tuple[int, int], *, align_corners: bool
) -> NDArray[np.float32]:
    """Return scores (h, w) at full size (H, W), bilinearly as logits are."""
    full = torch.empty(size, dtype=torch.float32, device=scores.device)
    maps = scores.detach().float().contiguous()[None]
    for rows, values in upsampled_strips(maps, size, align_corners=align_corners):
        full[rows] = values[0]
    return np.asarray(to_host([full])[0].numpy())
