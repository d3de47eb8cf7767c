"""Frames shared out over the processes that `torchrun` starts, and what each of them counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
import os
from typing import Any

import torch
from torch import distributed

_PATIENCE = timedelta(days=2)
"""How long a rank that has finished waits for the others; one that dies ends all at once."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that share the work."""

    rank: int = 0
    count: int = 1

    def share(self, indices: Sequence[int]) -> Sequence[int]:
        """Return this rank's part: of all parts in the order of the ranks come all indices."""
        length = len(indices)
        start, stop = (length * place // self.count for place in (self.rank, self.rank + 1))
        return indices[start:stop]

    def gather(self, one: Any) -> list[Any]:
        """Return what each rank gives, in their order, on every rank."""
        if self.count == 1:
            return [one]
        everything: list[Any] = [None] * self.count
        distributed.all_gather_object(everything, one)
        return everything


@contextmanager
def join_ranks(environment: Mapping[str, str] = os.environ) -> Iterator[Ranks]:
    """Let the processes of `torchrun` know each other as long as the block lasts."""
    count = int(environment.get('WORLD_SIZE') or '1')
    if count == 1:
        yield Ranks()
        return
    if distributed.is_initialized():
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
        return
    distributed.init_process_group('gloo', timeout=_PATIENCE)
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def own_device(device: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the device of this rank: a GPU of its own where there are several ranks."""
    if device not in ('auto', 'cuda') or int(environment.get('WORLD_SIZE') or '1') == 1:
        return device
    gpus = torch.cuda.device_count()
    return f'cuda:{int(environment.get("LOCAL_RANK") or "0") % gpus}' if gpus else device
