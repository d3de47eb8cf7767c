"""(epoch, position) -> samples -> batches; a resumed run goes on where the killed one stood."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from meta_ood_training.finetuning.data.mixing import MixedSamples
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler


class Batch(NamedTuple):
    """
    What one training step of one rank sees.

    Attributes
    ----------
    images : Tensor of shape (N, H, W, 3), uint8
        RGB, augmented.
    clean : Tensor of shape (N, H, W, 3), uint8
        The same crops without objects and under their own light, for a teacher; N = 0 without.
    targets : Tensor of shape (N, H, W), uint8
        Label values, OOD = 254.
    sources : Tensor of shape (N,), int64
        Index of the label sets that belong to the values.

    """

    images: Tensor
    clean: Tensor
    targets: Tensor
    sources: Tensor


class TrainingSamples(Dataset[Batch]):
    """Samples by (epoch, position), as batches of one."""

    def __init__(self, samples: MixedSamples, *, with_clean: bool) -> None:
        self.samples = samples
        self.with_clean = with_clean

    def __getitem__(self, place: tuple[int, int]) -> Batch:
        sample, clean = self.samples.with_clean(*place)
        draw = self.samples.draws(place[0])[place[1]]
        source = len(self.samples.street) if draw.is_proxy else draw.dataset
        kept = clean.image[None] if self.with_clean else clean.image[None][:0]
        return Batch(
            torch.from_numpy(sample.image[None]),
            torch.from_numpy(np.ascontiguousarray(kept)),
            torch.from_numpy(sample.target[None]),
            torch.tensor([source]),
        )


def join_batches(batches: Sequence[Batch]) -> Batch:
    """Return several batches as one."""
    return Batch(*(torch.cat(parts) for parts in zip(*batches, strict=True)))


class RunBatches(Sampler[list[tuple[int, int]]]):
    """
    Places of all batches of a run, for one rank.

    Notes
    -----
    Batch b of an epoch holds its positions b x W x B .. (b + 1) x W x B - 1, of which rank r takes
    the r-th B: so any number of ranks sees the same samples in one step. What does not fill a
    batch of all ranks is left out; epochs are shuffled, so that it is other samples each time.

    """

    def __init__(
        self,
        epoch_length: int,
        epochs: int,
        batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        max_batches: int = 0,
    ) -> None:
        self.batches_per_epoch = epoch_length // (batch_size * world_size)
        if not self.batches_per_epoch:
            raise ValueError(
                f'an epoch must fill one batch of {batch_size} on {world_size} rank(s), got '
                f'{epoch_length} samples. Lower training.batch_size or raise street repeats.'
            )
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        whole = self.batches_per_epoch * epochs
        self.batches = min(whole, max_batches) if max_batches else whole
        self._done: Callable[[], int] = lambda: 0

    def resume_from(self, done: Callable[[], int]) -> None:
        """Leave out what is already trained."""
        self._done = done

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for number in range(self._done(), self.batches):
            epoch, batch = divmod(number, self.batches_per_epoch)
            first = (batch * self.world_size + self.rank) * self.batch_size
            yield [(epoch, first + offset) for offset in range(self.batch_size)]
