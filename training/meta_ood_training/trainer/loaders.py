"""Who reads the samples of a run: the loaders of training and of validation."""

import os
from typing import Any

from meta_ood_training.trainer.batches import join_batches, RunBatches, TrainingSamples
from meta_ood_training.trainer.validation import ValidationFrames
import torch
from torch.utils.data import DataLoader, Subset


def make_training_loader(
    samples: TrainingSamples, batches: RunBatches, *, workers: int
) -> DataLoader[Any]:
    """
    Return the loader of a run's batches.

    Parameters
    ----------
    samples : TrainingSamples
        What is drawn.
    batches : RunBatches
        In which order.
    workers : int
        Processes that draw; 0 is the training process itself, below 0 as many as the cores allow.

    """
    return DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=workers if workers >= 0 else max(0, min(4, (os.cpu_count() or 1) - 1)),
        worker_init_fn=_yield_to_training,
        collate_fn=join_batches,
        persistent_workers=False,
        pin_memory=torch.cuda.is_available(),
    )


def make_validation_loader(frames: ValidationFrames, rank: int, world: int) -> DataLoader[Any]:
    """
    Return the loader of one rank's share of the validation frames, one at a time.

    Parameters
    ----------
    frames : ValidationFrames
        Of all ranks.
    rank, world : int
        Which rank of how many.

    """
    mine = Subset(frames, range(rank, len(frames), world))
    return DataLoader(mine, batch_size=None, collate_fn=_as_is)


def _yield_to_training(_: int) -> None:
    """Let a worker take what the step leaves: a delayed thread of a step delays all others."""
    os.nice(10)


def _as_is(frame: Any) -> Any:
    return frame
