"""Who reads the samples of a run: the loaders of training and of validation."""

import multiprocessing
import os
from typing import Any

from meta_ood_training.finetuning.data.batches import join_batches, RunBatches, TrainingSamples
from meta_ood_training.finetuning.loop.validation import ValidationFrames
import torch
from torch.utils.data import DataLoader, Subset


def make_training_loader(
    samples: TrainingSamples, batches: RunBatches, *, workers: int
) -> DataLoader[Any]:
    """
    Return the loader of a run's batches.

    Parameters
    ----------
    workers : int
        Processes that draw; 0 is the training process itself, below 0 as many as the cores allow.

    """
    count = workers if workers >= 0 else max(0, min(4, (os.cpu_count() or 1) - 1))
    # Copies of this process: the samples hold functions, which other ways of starting a worker
    # (the default since Python 3.14) would have to pickle. Workers touch neither GPU nor threads.
    can_fork = 'fork' in multiprocessing.get_all_start_methods()
    return DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=count,
        multiprocessing_context='fork' if count and can_fork else None,
        worker_init_fn=yield_to_training,
        collate_fn=join_batches,
        persistent_workers=False,
        pin_memory=torch.cuda.is_available(),
    )


def make_validation_loader(frames: ValidationFrames, rank: int, world: int) -> DataLoader[Any]:
    """Return the loader of one rank's share of the validation frames, one at a time."""
    if len(frames) < world:
        raise ValueError(
            f'validation must have a frame for each rank, got {len(frames)} for {world}. Raise '
            'validation.frames, or start fewer ranks.'
        )
    mine = Subset(frames, range(rank, len(frames), world))
    return DataLoader(mine, batch_size=None, collate_fn=_as_is)


def yield_to_training(_: int) -> None:
    """Let a worker take what the step leaves: a delayed thread of a step delays all others."""
    os.nice(10)


def _as_is(frame: Any) -> Any:
    return frame
