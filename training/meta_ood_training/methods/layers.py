"""What stands before the activations inside a network, beside its logits, in one pass."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from meta_ood_ros.core.networks import OodNetwork
import torch
from torch import nn, Tensor

ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish,
)  # fmt: skip
_PROBE_SIDES = 4  # of the image that shows the order of the layers, in strides


class LayerTap:
    """
    A network whose embeddings at named layers are taken along.

    Of an activation its input is taken: behind a ReLU some dimensions never change their sign,
    and a density there is degenerate (Blum et al., B.6). Of any other layer its output is.
    """

    def __init__(self, network: OodNetwork, names: Sequence[str]) -> None:
        modules = dict(network.named_modules())
        for name in names:
            if name not in modules or not name:
                nearest = get_close_matches(name, modules, 1, 0.4)
                hint = f' Did you mean {nearest[0]!r}?' if nearest else ''
                raise ValueError(
                    f'layer must be a module of {type(network).__name__}, got {name!r}.{hint} '
                    'Its named_modules() lists them.'
                )
        self.network, self.names = network, tuple(names)
        self._modules = modules

    def __call__(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return logits (1, C, h, w) and by layer its embeddings (1, D, h', w')."""
        taken: dict[str, Tensor] = {}
        with _hooks(self._modules, self.names, taken):
            logits = self.network(x)
        for name in self.names:
            if name not in taken or taken[name].ndim != 4:
                shape = tuple(taken[name].shape) if name in taken else 'nothing'
                raise ValueError(
                    f'layer must give a map (N, D, h, w), got {shape} of {name!r}. '
                    'Choose a convolution, a normalisation or an activation.'
                )
        return logits, {name: taken[name] for name in self.names}


def last_layer(network: OodNetwork) -> str:
    """Return the activation that runs last: what the last layers see, before it is cut off."""
    return _activations(network)[-1][0]


def deep_layers(network: OodNetwork) -> list[str]:
    """Return of the later half of the activations the last on each grid; `last_layer` ends."""
    order = _activations(network)
    latest = {grid: name for name, grid in order[len(order) // 2 :]}
    chosen = set(latest.values())
    return [name for name, grid in order if name in chosen and latest[grid] == name]


def order_of(
    network: nn.Module, kinds: tuple[type[nn.Module], ...]
) -> list[tuple[str, tuple[int, int]]]:
    """Return layers of some kinds in the order in which they run on maps, with their grids."""
    order: list[tuple[str, tuple[int, int]]] = []

    def noting(name: str) -> Any:
        def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if inputs[0].ndim == 4 and min(inputs[0].shape[-2:]) > 1:  # no vector of the image
                order.append((name, (inputs[0].shape[-2], inputs[0].shape[-1])))

        return note

    handles = [
        module.register_forward_pre_hook(noting(name))
        for name, module in network.named_modules()
        if isinstance(module, kinds)
    ]
    side = _PROBE_SIDES * int(getattr(network, 'stride', 1))
    try:
        with torch.no_grad():
            network(next(network.parameters()).new_zeros(1, 3, side, side))
    finally:
        for handle in handles:
            handle.remove()
    return order


def _activations(network: OodNetwork) -> list[tuple[str, tuple[int, int]]]:
    order = order_of(network, ACTIVATIONS)
    if not order:
        raise ValueError(
            f'the network must have an activation that is a module, got none in '
            f'{type(network).__name__}. Name a layer.'
        )
    return order


@contextmanager
def _hooks(
    modules: dict[str, nn.Module], names: Sequence[str], taken: dict[str, Tensor]
) -> Iterator[None]:
    def before(name: str) -> Any:
        def take(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            taken[name] = inputs[0].clone()  # an activation may work in place

        return take

    def after(name: str) -> Any:
        def take(module: nn.Module, inputs: Any, output: Tensor) -> None:
            taken[name] = output.clone()

        return take

    handles = [
        modules[name].register_forward_pre_hook(before(name))
        if isinstance(modules[name], ACTIVATIONS)
        else modules[name].register_forward_hook(after(name))
        for name in names
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
