"""Embeddings -> a fitted flow: Adam on the mean NLL (Blum et al. 2021, equation 6), resumable."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
import io
from pathlib import Path
import pickle
from typing import Any

from meta_ood_ros.core.error_text import first_line
from meta_ood_ros.core.files.whole_files import replace_whole
from meta_ood_training.methods.density.real_nvp import RealNvp, STEPS
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

_CHECKS, _LARGEST_GRADIENT = 10, 10.0
_BLOCK = 1 << 14


@dataclass(frozen=True)
class FlowPlan:
    """
    How a flow is fitted; the paper takes 200,000 iterations at 1e-4 on 22 million embeddings.

    Attributes
    ----------
    iterations, batch : int
        Steps of Adam, and embeddings a step.
    rate : float
        Learning rate at the start; it falls to 0 along a cosine.
    hidden : int
        Width of the small network in each coupling.
    steps : int
        Couplings, batch normalisations and permutations.
    held_out : int
        Embeddings that choose among the states of the fit and are not trained on; at most a tenth.

    """

    iterations: int = 2000
    batch: int = 512
    rate: float = 1e-3
    hidden: int = 64
    steps: int = STEPS
    held_out: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ('iterations', 'batch', 'hidden', 'steps'):
            if getattr(self, name) < 1:
                raise ValueError(
                    f'{name} of a flow must be at least 1, got {getattr(self, name)}.'
                )
        if not 0 < self.rate < 1:
            raise ValueError(f'rate of a flow must lie in (0, 1), got {self.rate}.')


def fit_flow(
    values: NDArray[np.float32],
    plan: FlowPlan,
    *,
    checkpoint: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> RealNvp:
    """
    Return the flow of embeddings (N, D) in random order, with its mean NLL on them.

    Parameters
    ----------
    checkpoint : Path, optional
        Where the fit goes on when it was stopped; the same plan on the same embeddings only.

    """
    if len(values) < 10:
        raise ValueError(f'a flow needs at least 10 embeddings, got {len(values)}. Add --data.')
    held = min(plan.held_out, len(values) // 10)
    judged, trained = torch.from_numpy(values[:held]), torch.from_numpy(values[held:])
    flow = RealNvp(values.shape[1], hidden=plan.hidden, steps=plan.steps, seed=plan.seed)
    flow.standardise((trained.mean(0), trained.std(0)))
    run = _Fit(flow, plan, _fingerprint(values))
    if checkpoint is not None and checkpoint.exists():
        run.load(checkpoint)
        tell(f'goes on at iteration {run.done} of {plan.iterations}')
    every = max(1, plan.iterations // _CHECKS)
    while run.done < plan.iterations:
        run.step(trained)
        if run.done % every == 0 or run.done == plan.iterations:
            nll = run.judge(judged)
            tell(f'iteration {run.done} of {plan.iterations}: held-out NLL {nll:.3f} nats')
            if checkpoint is not None:
                run.save(checkpoint)
    if run.best is None:
        raise ValueError(
            'the flow must reach a finite NLL, got none. Lower rate, or choose another layer.'
        )
    flow.load_state_dict(run.best)
    flow.eval()
    flow.training_nll.fill_(mean_nll(flow, trained))
    return flow


def mean_nll(flow: RealNvp, values: Tensor) -> float:
    """Return the mean NLL of embeddings (N, D) in evaluation, in nats."""
    total = 0.0
    was_training = flow.training
    flow.eval()
    with torch.no_grad():
        for block in values.split(_BLOCK):
            total += float(flow.nll(block).double().sum())
    flow.train(was_training)
    return total / len(values)


class _Fit:
    """All that a fit must remember to go on."""

    def __init__(self, flow: RealNvp, plan: FlowPlan, fingerprint: float) -> None:
        self.flow, self.plan, self.fingerprint = flow, plan, fingerprint
        self.done, self.best_nll = 0, float('inf')
        self.best: dict[str, Tensor] | None = None
        self._optimizer = torch.optim.Adam(flow.parameters(), lr=plan.rate)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self._optimizer, plan.iterations
        )
        self._random = torch.Generator().manual_seed(plan.seed)

    def step(self, values: Tensor) -> None:
        chosen = torch.randint(len(values), (self.plan.batch,), generator=self._random)
        self.flow.train()
        loss = self.flow.nll(values[chosen]).mean()
        self._optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.flow.parameters(), _LARGEST_GRADIENT)
        if torch.isfinite(norm):  # one wild batch must not end the fit
            self._optimizer.step()
        self._schedule.step()
        self.done += 1

    def judge(self, values: Tensor) -> float:
        nll = mean_nll(self.flow, values)
        if nll < self.best_nll:
            self.best_nll = nll
            self.best = {key: one.clone() for key, one in self.flow.state_dict().items()}
        return nll

    def save(self, path: Path) -> None:
        content = {
            'plan': asdict(self.plan),
            'fingerprint': self.fingerprint,
            'done': self.done,
            'best_nll': self.best_nll,
            'best': self.best,
            'flow': self.flow.state_dict(),
            'optimizer': self._optimizer.state_dict(),
            'schedule': self._schedule.state_dict(),
            'random': self._random.get_state(),
        }
        with replace_whole(path) as stream:
            torch.save(content, stream)

    def load(self, path: Path) -> None:
        content = _read(path)
        for name, ours in (('plan', asdict(self.plan)), ('fingerprint', self.fingerprint)):
            if content[name] != ours:
                raise ValueError(
                    f'{path.name} must belong to the same {name}, got another. '
                    f'Repeat the options of that run, or delete {str(path)!r} to start again.'
                )
        self.done, self.best_nll = content['done'], content['best_nll']
        self.best = content['best']
        self.flow.load_state_dict(content['flow'])
        self._optimizer.load_state_dict(content['optimizer'])
        self._schedule.load_state_dict(content['schedule'])
        self._random.set_state(content['random'])


def _read(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(io.BytesIO(path.read_bytes()), weights_only=True)
        if not isinstance(content, dict) or 'fingerprint' not in content:
            raise ValueError('it is no checkpoint of a flow')
    except (ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(
            f'{path.name} must be the checkpoint of a flow, got {first_line(error)}. '
            f'Delete {str(path)!r} to start again.'
        ) from error
    return content


def _fingerprint(values: NDArray[np.float32]) -> float:
    """Return a number that tells embeddings apart, and their order."""
    weights = np.linspace(0.5, 1.5, len(values))
    return float(weights @ values.astype(np.float64).sum(axis=1))
