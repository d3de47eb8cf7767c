"""A segmentation network with a head beside it, whose class logits stay what they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args, Literal, NamedTuple

from meta_ood_ros.core.backends.fold import fold_batch_norms
from meta_ood_ros.core.networks import OodNetwork
from meta_ood_ros.core.networks.outlier_decoder import HeadBlock
from meta_ood_training.heads.taps import run_with_inputs
import torch
from torch import nn, Tensor
from torch.nn.functional import interpolate

BESIDE_HEAD = 'network.'
"""How names of the network's own parameters begin in a `NetworkWithHead`."""
HeadKind = Literal['void_class', 'outlier_head', 'residual_head']
HEAD_KINDS: tuple[HeadKind, ...] = get_args(HeadKind)


def head_kind(name: str) -> HeadKind:
    """Return the kind of this name."""
    for one in HEAD_KINDS:
        if one == name:
            return one
    raise ValueError(
        f'a head must be one of {", ".join(HEAD_KINDS)}, got {name!r}. Check its spelling.'
    )


@dataclass(frozen=True)
class HeadSettings:
    """
    What a head looks at.

    Attributes
    ----------
    inputs : tuple of str
        Layers of the network whose inputs it gets, `last_layer` for the one that gives the
        logits; its planes have the resolution of the last of them.
    hidden : int
        Channels within; 0 is a single 1x1 convolution, as a further class would have.
    frozen_network : bool
        Train the head alone: the segmentation stays what it is, bit for bit. That of a
        `residual_head` always does.

    """

    inputs: tuple[str, ...]
    hidden: int = 64
    frozen_network: bool = False

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
        `residual_head` and `settings.frozen_network` leave the network untrained and in evaluation
        mode, whatever is asked of it: neither weights nor statistics move.

    """

    def __init__(self, network: OodNetwork, kind: HeadKind, settings: HeadSettings) -> None:
        super().__init__()
        self.network = network
        self.kind = kind
        self.settings = settings
        for name in ('num_classes', 'stride', 'align_corners', 'input_mean', 'input_std'):
            setattr(self, name, getattr(network, name))
        self.is_frozen = kind == 'residual_head' or settings.frozen_network
        planes = network.num_classes if kind == 'residual_head' else 1
        self.extra_head = HeadBlock(self._channels(), planes, hidden=settings.hidden)
        if self.is_frozen:
            network.requires_grad_(False)

    def _channels(self) -> list[int]:
        side = 4 * self.network.stride
        x = torch.zeros(1, 3, side, side)
        modes = [(part, part.training) for part in self.network.modules()]
        self.network.eval()
        with torch.no_grad():
            _, maps = run_with_inputs(self.network, self.settings.inputs, x)
            # as it will run: some layers are no more, others see something else
            _, folded = run_with_inputs(fold_batch_norms(self.network), self.settings.inputs, x)
        for part, mode in modes:
            part.training = mode
        for name, one, other in zip(self.settings.inputs, maps, folded, strict=True):
            if one.shape != other.shape or not torch.allclose(one, other, rtol=1e-2, atol=1e-2):
                raise ValueError(
                    f'head.inputs must name layers whose inputs stay when normalisations are '
                    f'folded into convolutions, got {name}. Take the layer before or behind it.'
                )
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


class JoinedNetwork(OodNetwork):
    """A network with a head as one that gives both: C logits, then the planes on their grid."""

    def __init__(self, network: NetworkWithHead) -> None:
        super().__init__()
        self.beside = network
        self.num_classes = network.num_classes + network.extra_head.out.out_channels
        for name in ('stride', 'align_corners', 'input_mean', 'input_std'):
            setattr(self, name, getattr(network, name))

    def forward(self, x: Tensor) -> Tensor:
        return join_planes(self.beside.outputs(x), align_corners=self.align_corners)

    def last_layers(self) -> tuple[tuple[nn.Conv2d, int], ...]:
        """Return those of the segmentation."""
        return self.beside.network.last_layers()


def to_grid(planes: Tensor, logits: Tensor, *, align_corners: bool) -> Tensor:
    """Return planes at the resolution of the logits."""
    size = logits.shape[-2:]
    if planes.shape[-2:] == size:
        return planes
    return interpolate(planes, size, mode='bilinear', align_corners=align_corners)


def join_planes(outputs: Outputs, *, align_corners: bool) -> Tensor:
    """Return the logits (N, C, h, w), with the planes of a head behind them where there is one."""
    logits, planes = outputs
    if planes is None:
        return logits
    return torch.cat([logits, to_grid(planes, logits, align_corners=align_corners)], 1)


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
