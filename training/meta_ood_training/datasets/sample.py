"""One labelled image as every layout gives it, and the values its target may hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from meta_ood_ros.core.classes import CITYSCAPES_NAMES
import numpy as np

IN_DISTRIBUTION = 253
"""Known to be in-distribution, class not labelled: counts in pixel scores, never in a loss."""
OOD = 254
"""Out-of-distribution object (the published code's value for COCO objects)."""
IGNORED = 255
"""Counts nowhere: void, unlabelled, outside the region of interest."""


@dataclass(frozen=True, eq=False)
class Sample:
    """
    One image with its target.

    Attributes
    ----------
    image : ndarray of shape (H, W, 3), uint8
        RGB.
    target : ndarray of shape (H, W), uint8
        Class id 0..C-1, IN_DISTRIBUTION = 253 (class unknown), OOD = 254 or IGNORED = 255.
    name : str
        Unique within its dataset.
    group : str
        What must not be torn apart by an honest split: a sequence block or a source image.
        <sequence>_<number> is a block; successive numbers are neighbours in time.

    """

    image: np.ndarray
    target: np.ndarray
    name: str
    group: str

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(
                f'image of {self.name} must be (H, W, 3) uint8 RGB, '
                f'got {self.image.shape} {self.image.dtype}.'
            )
        if self.target.dtype != np.uint8 or self.target.shape != self.image.shape[:2]:
            raise ValueError(
                f'target of {self.name} must be {self.image.shape[:2]} uint8 like its image, got '
                f'{self.target.shape} {self.target.dtype}. Check that both belong together.'
            )


class SampleDataset(Protocol):
    """What training and evaluation need of a dataset: length, samples, names, groups."""

    @property
    def region_of_interest(self) -> str:
        """What counts at all, in words for a report: the rest is IGNORED."""

    @property
    def names(self) -> Sequence[str]:
        """Names of all samples, in order, without reading an image."""

    @property
    def groups(self) -> Sequence[str]:
        """Groups of all samples, in order, without reading an image."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


def parse_background(background: str, class_names: Sequence[str] = CITYSCAPES_NAMES) -> int:
    """
    Return the target value that unlabelled pixels of an OoD proxy image get.

    Parameters
    ----------
    background : str
        `ignore` (default of every proxy: l_in is over in-distribution data only) or
        `class:<name>`; the published code amounts to `class:road`.

    """
    if background == 'ignore':
        return IGNORED
    kind, _, name = background.partition(':')
    if kind != 'class' or name not in class_names:
        raise ValueError(
            f"background must be 'ignore' or 'class:<name>' with a name of "
            f'{", ".join(class_names)}, got {background!r}.'
        )
    return list(class_names).index(name)
