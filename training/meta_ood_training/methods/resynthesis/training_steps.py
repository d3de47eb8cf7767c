"""A training that goes on where it was killed, to the same weights: without pickle."""

from collections.abc import Callable
import math
from pathlib import Path

from meta_ood_ros.core.files.tensor_header import read_metadata
from meta_ood_ros.core.files.whole_files import write_whole
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
import torch
from torch import nn, Tensor
from tqdm import tqdm

_MODULE, _OPTIMIZER, _LOSSES, _RUN = 'module.', 'optimizer.', 'losses', 'run'
#: Of the learning rate, at the last step.
_LAST_SHARE = 0.05


def train(
    module: nn.Module,
    loss_of: Callable[[int], Tensor],
    point: Path,
    *,
    steps: int,
    rate: float,
    every: int,
    identity: str,
    resume: bool,
    progress: bool = False,
) -> list[float]:
    """
    Train a module with Adam, its rate on a cosine, and return the loss of each step.

    Parameters
    ----------
    loss_of : callable
        Number of the step -> loss; all chance in it follows from the number alone.
    point : Path
        File from which a killed run goes on; it stays there, with the last weights, at the end.
    every : int
        Steps between two writings of it.
    identity : str
        What makes the numbers of the run. Another one's point is refused.
    resume : bool
        Whether to begin at `point` where it is there.

    """
    optimizer = torch.optim.Adam(module.parameters(), rate)
    losses = _take_back(point, module, optimizer, identity) if resume and point.exists() else []
    module.train()
    for step in tqdm(
        range(len(losses), steps),
        desc=point.name.partition('.')[0],
        unit='step',
        initial=len(losses),
        total=steps,
        disable=not progress,
    ):
        wave = 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group['lr'] = rate * (_LAST_SHARE + (1 - _LAST_SHARE) * wave)
        loss = loss_of(step)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ValueError(
                f'the loss must be finite, got {value} at step {step}: the training diverged. '
                f'{point.name} stays as it was before. Lower the learning rate, and start again.'
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(value)
        if len(losses) % every == 0 or len(losses) == steps:
            _keep(point, module, optimizer, losses, identity)
    module.eval()
    return losses


def _keep(
    point: Path, module: nn.Module, optimizer: torch.optim.Optimizer, losses: list[float], run: str
) -> None:
    tensors = {_MODULE + key: value for key, value in module.state_dict().items()}
    for number, state in optimizer.state_dict()['state'].items():
        tensors |= {f'{_OPTIMIZER}{number}.{key}': value for key, value in state.items()}
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    plain[_LOSSES] = torch.tensor(losses, dtype=torch.float64)
    write_whole(point, save_tensors(plain, {_RUN: run}))


def _take_back(
    point: Path, module: nn.Module, optimizer: torch.optim.Optimizer, run: str
) -> list[float]:
    """Load module and optimizer, and return the losses of the steps that were done."""
    content = point.read_bytes()
    try:
        was = read_metadata(content)[_RUN]
        tensors = load_tensors(content)
        losses: list[float] = tensors[_LOSSES].tolist()
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{point} must be a resume point of `resynthesis`, got {error!r}. Remove it, or train '
            'into a new folder.'
        ) from error
    if was != run:
        raise ValueError(
            f'a resumed run must have the settings, network and data that it began with, got '
            f'others than those of {point}. Correct them, or train into a new folder.'
        )
    module.load_state_dict(_below(tensors, _MODULE))
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in _below(tensors, _OPTIMIZER).items():
        number, _, name = key.partition('.')
        states.setdefault(int(number), {})[name] = value
    groups = optimizer.state_dict()['param_groups']
    optimizer.load_state_dict({'state': states, 'param_groups': groups})
    return losses


def _below(tensors: dict[str, Tensor], start: str) -> dict[str, Tensor]:
    return {key[len(start) :]: one for key, one in tensors.items() if key.startswith(start)}
