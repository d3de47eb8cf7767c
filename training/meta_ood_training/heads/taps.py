"""One forward pass of a network with the inputs of some of its layers."""

from collections.abc import Sequence

from meta_ood_ros.core.networks import OodNetwork
from torch import Tensor

LAST_LAYER = 'last_layer'
"""Stands for the layer that gives the logits, whatever its name: `OodNetwork.with_features`."""


def run_with_inputs(
    network: OodNetwork, layers: Sequence[str], x: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """
    Return what a network gives, and what came into its layers on the way.

    Parameters
    ----------
    layers : sequence of str
        Names of its parts, such as 'bu_dec_l4', and LAST_LAYER.

    """
    parts = dict(network.named_modules())
    named = [name for name in layers if name != LAST_LAYER]
    unknown = [name for name in named if name not in parts or not name]
    if unknown:
        known = ', '.join(name for name in parts if name and '.' not in name)
        raise ValueError(
            f'head.inputs must name layers of the network ({LAST_LAYER}, {known}, or parts of '
            f'these), got {", ".join(unknown)}. Correct it.'
        )
    seen: dict[str, Tensor] = {}
    # Hooks for this pass alone: a copy of the network would keep writing into the original's.
    hooks = [
        parts[name].register_forward_pre_hook(
            lambda _, inputs, name=name: seen.__setitem__(name, inputs[0])
        )
        for name in named
    ]
    try:
        if LAST_LAYER in layers:
            output, seen[LAST_LAYER] = network.with_features(x)
        else:
            output = network(x)
    finally:
        for hook in hooks:
            hook.remove()
    unused = [name for name in layers if name not in seen]
    if unused:
        raise ValueError(
            f'head.inputs must name layers that an image passes, got {", ".join(unused)}, which '
            'none does. Take others.'
        )
    return output, [seen[name] for name in layers]
