"""A segmentation network with a head beside it, whose class logits stay what they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from meta_ood_ros.core.networks import OodNetwork
from meta_ood_training.heads.block import HeadBlock
from meta_ood_training.heads.taps import run_with_inputs
import torch
from torch import nn, Tensor

BESIDE_HEAD = 'network.'
"""How names of the network's own parameters begin in a `NetworkWithHead`."""
HeadKind = Literal['void_class', 'outlier_head', 'residual_head']


@dataclass(frozen=True)
class HeadSettings:
    """
    What a head looks at.

    Attributes
    ----------
    inputs : tuple of str
        Layers of the network whose inputs it gets; its planes have the resolution of the last.
    hidden : int
        Channels within; 0 is a single 1x1 convolution, as a further class would have.

    """

    inputs: tuple[str, ...]
    hidden: int = 64

    def __post_init__(self) -> None:
        if not self.inputs or self.hidden < 0:
            raise ValueError(
                f'a head must have inputs and hidden channels from 0 on, got {self.inputs} and '
                f'{self.hidden}. Name layers of the network, such as [bu_dec_l4].'
            )


class Outputs(NamedTuple):
    """
    What a network with or without a head gives.

    Attributes
    ----------
    logits : Tensor of shape (N, C, h, w), float
        Of the segmentation.
    planes : Tensor of shape (N, K, h', w'), float, or None
        Of the head: one logit, or for `residual_head` one for each class.

    """

    logits: Tensor
    planes: Tensor | None = None


class NetworkWithHead(OodNetwork):
    """
    A network and a head: called like the network, it gives the network's logits.

    Parameters
    ----------
    kind : str
        `residual_head` leaves the network untrained and in evaluation mode, whatever is asked of
        it: neither weights nor statistics move.

    """

    def __init__(self, network: OodNetwork, kind: HeadKind, settings: HeadSettings) -> None:
        super().__init__()
        self.network = network
        self.kind = kind
        self.settings = settings
        for name in ('num_classes', 'stride', 'align_corners', 'input_mean', 'input_std'):
            setattr(self, name, getattr(network, name))
        self.is_frozen = kind == 'residual_head'
        planes = network.num_classes if kind == 'residual_head' else 1
        self.extra_head = HeadBlock(self._channels(), planes, hidden=settings.hidden)
        if self.is_frozen:
            network.requires_grad_(False)

    def _channels(self) -> list[int]:
        side = 4 * self.network.stride
        modes = [(part, part.training) for part in self.network.modules()]
        self.network.eval()
        with torch.no_grad():
            _, maps = run_with_inputs(
                self.network, self.settings.inputs, torch.zeros(1, 3, side, side)
            )
        for part, mode in modes:
            part.training = mode
        return [int(one.shape[1]) for one in maps]

    def train(self, mode: bool = True) -> 'NetworkWithHead':
        """Set the mode of both, but for a frozen network."""
        super().train(mode)
        if self.is_frozen:
            self.network.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)

    def outputs(self, x: Tensor) -> Outputs:
        """Return class logits with the head's planes."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.is_frozen):
            logits, maps = run_with_inputs(self.network, self.settings.inputs, x)
        return Outputs(logits, self.extra_head(maps))


def run_network(network: nn.Module, x: Tensor) -> Outputs:
    """Return what a network gives, in float32, with its head's planes where it has one."""
    if not isinstance(network, NetworkWithHead):
        return Outputs(network(x).float())
    logits, planes = network.outputs(x)
    assert planes is not None
    return Outputs(logits.float(), planes.float())


def split_weights(network: OodNetwork) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the weights of the segmentation network, and those of its head, {} without."""
    if not isinstance(network, NetworkWithHead):
        return network.state_dict(), {}
    return network.network.state_dict(), network.extra_head.state_dict()
