"""One forward pass of a network with the inputs of some of its layers."""

from collections.abc import Sequence

from torch import nn, Tensor


def run_with_inputs(
    network: nn.Module, layers: Sequence[str], x: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """
    Return what a network gives, and what came into its layers on the way.

    Parameters
    ----------
    layers : sequence of str
        Names of its parts, such as 'bu_dec_l4'.

    """
    parts = dict(network.named_modules())
    unknown = [name for name in layers if name not in parts or not name]
    if unknown:
        known = ', '.join(name for name in parts if name and '.' not in name)
        raise ValueError(
            f'head.inputs must name layers of the network ({known}, or parts of these), got '
            f'{", ".join(unknown)}. Correct it.'
        )
    seen: dict[str, Tensor] = {}
    # Hooks for this pass alone: a copy of the network would keep writing into the original's.
    hooks = [
        parts[name].register_forward_pre_hook(
            lambda _, inputs, name=name: seen.__setitem__(name, inputs[0])  # type: ignore[misc]
        )
        for name in layers
    ]
    try:
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
