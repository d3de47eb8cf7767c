"""Features of a frozen segmentation network on the grids of its way down, and their difference."""

from collections.abc import Sequence
from typing import Any

from meta_ood_ros.core.networks import OnnxNetwork, OodNetwork
import torch
from torch import nn, Tensor
from torch.nn.functional import interpolate

_STRIDES = (2, 4, 8, 16)
#: Of a level without any activation, whose differences count as they are.
_SMALLEST = 1e-6


class FeatureLevels:
    """
    Runs a network and keeps, for each of the strides 2 to 16, the widest output on that grid.

    Parameters
    ----------
    network : OodNetwork
        In evaluation mode; its parameters are frozen here.
    mean, std : sequence of 3 float
        Of RGB values in [0, 1], with which it takes images.

    Attributes
    ----------
    channels : tuple of int
        Of each level, from fine to coarse.

    Notes
    -----
    Counts only what comes before the first output on a coarser grid, the last of equally wide
    ones: the end of each stage of an encoder, found by one trial run, whatever its layers are
    called. Gradients reach the image, as a perceptual loss needs it.

    """

    def __init__(
        self, network: OodNetwork, *, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        if isinstance(network, OnnxNetwork):
            raise ValueError(
                'resynthesis needs gradients of the network, got one that is an ONNX file. Take a '
                'bundle whose network is one of meta_ood_ros.core.networks.'
            )
        self.network = network.eval().requires_grad_(False)
        device = next(network.parameters()).device
        self._mean, self._std = (
            torch.tensor(one, device=device).view(1, 3, 1, 1) for one in (mean, std)
        )
        self._leaves = [one for one in network.modules() if not list(one.children())]
        self._kept: dict[int, int] = {}  # number of the output -> level
        self.channels: tuple[int, ...] = ()
        self._find_levels(device)

    def _find_levels(self, device: torch.device) -> None:
        # so large that no grid on the way down is mistaken for another
        side = 8 * max(_STRIDES[-1], self.network.stride)
        with torch.no_grad():
            outputs = self._run(torch.zeros(1, 3, side, side, device=device))
        found: list[tuple[int, int]] = []
        for stride in _STRIDES:
            grid = side // stride
            down = next(
                (i for i, one in enumerate(outputs) if one is not None and one.shape[-1] < grid),
                len(outputs),
            )
            here = [
                (one.shape[1], number)
                for number, one in enumerate(outputs[:down])
                if one is not None and tuple(one.shape[-2:]) == (grid, grid)
            ]
            if here:
                width, number = max(here)
                found.append((number, width))
        if not found:
            raise ValueError(
                f'resynthesis needs features on grids of strides 2 to 16, got none of '
                f'{type(self.network).__name__}. Take another network.'
            )
        self._kept = {number: level for level, (number, _) in enumerate(found)}
        self.channels = tuple(width for _, width in found)

    def _run(self, images: Tensor) -> list[Tensor | None]:
        """Return the outputs of all leaves in the order of their calls, those not kept as None."""
        outputs: list[Tensor | None] = []

        def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
            number = len(outputs)
            is_map = isinstance(output, Tensor) and output.ndim == 4
            wanted = not self._kept or number in self._kept
            outputs.append(output if is_map and wanted else None)

        hooks = [leaf.register_forward_hook(note) for leaf in self._leaves]
        try:
            self.network((images - self._mean) / self._std)
        finally:
            for hook in hooks:
                hook.remove()
        return outputs

    def __call__(self, images: Tensor) -> list[Tensor]:
        """
        Return the features of images, from the finest grid to the coarsest.

        Parameters
        ----------
        images : Tensor of shape (N, 3, h, w), float32
            RGB in [0, 1].

        Returns
        -------
        list of Tensor of shape (N, c, h / stride, w / stride), float32

        """
        outputs = self._run(images)
        return [one for one in (outputs[number] for number in self._kept) if one is not None]


def level_differences(features: Sequence[Tensor], others: Sequence[Tensor]) -> list[Tensor]:
    """
    Return how far features are from others on each level, relative to what they are.

    Returns
    -------
    list of Tensor of shape (N, 1, h / stride, w / stride)
        Mean over the channels of |f - f'|, by the mean of |f| over the image; 0 where they are
        equal.

    """
    return [
        (one - other).abs().mean(1, keepdim=True)
        / one.detach().abs().mean((1, 2, 3), keepdim=True).clamp_min(_SMALLEST)
        for one, other in zip(features, others, strict=True)
    ]


def perceptual_difference(
    features: Sequence[Tensor], others: Sequence[Tensor], size: tuple[int, int]
) -> Tensor:
    """
    Return the mean over the levels of their differences on one grid.

    Returns
    -------
    Tensor of shape (N, 1, h, w), float32
        At least 0, and 0 where nothing differs.

    """
    levels = level_differences(features, others)
    upsampled = [interpolate(one, size, mode='bilinear', align_corners=False) for one in levels]
    return torch.stack(upsampled).mean(0)
