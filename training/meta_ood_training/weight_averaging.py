"""Weights of several runs, and of what they started from -> one set of weights."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def average_weights(
    runs: Sequence[Mapping[str, Tensor]],
    *,
    start: Mapping[str, Tensor] | None = None,
    start_share: float = 0.0,
) -> dict[str, Tensor]:
    """
    Return the mean of runs that began at the same weights, moved back towards these.

    Parameters
    ----------
    runs : sequence of mapping of str to Tensor
        State dicts of one architecture, at least one.
    start : mapping of str to Tensor, optional
        Their common start; weights that it lacks stay as the runs have them.
    start_share : float
        Share of the start in the result, in [0, 1]: 0.25 is what WiSE-FT calls alpha = 0.75.

    Returns
    -------
    dict of str to Tensor
        In the type of the first run; whole numbers, such as counters, are the first run's.

    Notes
    -----
    Wortsman et al., *Model soups*, ICML 2022, and *Robust fine-tuning of zero-shot models*,
    CVPR 2022.

    """
    if not runs:
        raise ValueError('runs must hold at least one set of weights, got none.')
    if not 0 <= start_share <= 1:
        raise ValueError(f'start_share must lie in [0, 1], got {start_share}.')
    if start_share and start is None:
        raise ValueError(f'start_share {start_share} needs start, got None. Name the start.')
    first = runs[0]
    for number, other in enumerate(runs):
        if {key: value.shape for key, value in other.items()} != {
            key: value.shape for key, value in first.items()
        }:
            raise ValueError(
                f'runs must be of one architecture, but run {number} has other names or shapes '
                'than run 0. Average checkpoints of the same network and arguments.'
            )
    for key, value in (start or {}).items():
        if key in first and value.shape != first[key].shape:
            raise ValueError(
                f'start must be of the architecture of the runs, got {key} of shape '
                f'{tuple(value.shape)}, which they have as {tuple(first[key].shape)}. Name the '
                'weights that the runs began at.'
            )
    averaged = {}
    for key, value in first.items():
        if not value.is_floating_point():
            averaged[key] = value
            continue
        mean = torch.stack([run[key].double() for run in runs]).mean(0)
        if start is not None and start_share and key in start:
            mean = (1 - start_share) * mean + start_share * start[key].double()
        averaged[key] = mean.to(value.dtype)
    return averaged
