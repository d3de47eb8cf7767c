"""Street frames whose unlabelled pixels are examples of the unknown."""

from collections.abc import Sequence

from meta_ood_training.datasets.sample import IGNORED, OOD, Sample, SampleDataset
import numpy as np


class VoidAsOod:
    """
    The samples of a data set with OOD in the place of IGNORED.

    Before anything is cropped: what a crop has beside its frame stays ignored.
    """

    def __init__(self, samples: SampleDataset) -> None:
        self.samples = samples
        self.region_of_interest = samples.region_of_interest

    @property
    def names(self) -> Sequence[str]:
        """Names of all samples, in order."""
        return self.samples.names

    @property
    def groups(self) -> Sequence[str]:
        """Groups of all samples, in order."""
        return self.samples.groups

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        one = self.samples[index]
        target = np.where(one.target == IGNORED, np.uint8(OOD), one.target)
        return Sample(one.image, target, one.name, one.group)
