"""Data sets and procedural scenes -> images with their truth, one at a time."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from meta_ood_ros.scenes import render_scene
from meta_ood_training.datasets.sample import OOD, SampleDataset
import numpy as np

SCENE_SIZE = (360, 640)


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """
    One image with its truth.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8
        RGB.
    target : ndarray of shape (H, W), uint8
        As in `Sample`.
    name, group, split : str
        Which image, what must not be torn apart, and the part it belongs to.
    instances : ndarray of shape (H, W), int, or None
        0, or the OoD instance 1..M; None where only the mask is known.

    """

    image: np.ndarray
    target: np.ndarray
    name: str
    group: str
    split: str
    stamp_ns: int | None = None
    instances: np.ndarray | None = None


class FrameSource(Protocol):
    """Frames by number, so that each process can take its share."""

    title: str
    object_unit: str
    region_of_interest: str

    def __len__(self) -> int:
        """Return how many frames there are."""

    def share(self, part: int, parts: int, done: Container[int] = ()) -> Iterator[tuple[int, Any]]:
        """Yield number and frame of every parts-th frame, from `part` on, but those done."""


class DatasetFrames:
    """The samples of a data set."""

    object_unit = '8-connected component'

    def __init__(self, title: str, dataset: SampleDataset, split: str) -> None:
        self.title = title
        self.dataset = dataset
        self.region_of_interest = dataset.region_of_interest
        self.split = split

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.dataset)

    def share(
        self, part: int, parts: int, done: Container[int] = ()
    ) -> Iterator[tuple[int, LabelledFrame]]:
        """Yield number and frame of every parts-th sample, from number `part` on."""
        for index in range(part, len(self.dataset), parts):
            if index in done:
                continue
            sample = self.dataset[index]
            yield (
                index,
                LabelledFrame(
                    image=sample.image,
                    target=sample.target,
                    name=f'{self.title}/{sample.name}',
                    # prefixed: two data sets may call their groups alike
                    group='+'.join(f'{self.title}/{one}' for one in sample.group.split('+')),
                    split=self.split,
                ),
            )


class SceneFrames:
    """Procedural street scenes."""

    object_unit = 'instance'
    region_of_interest = 'the whole image'

    def __init__(
        self,
        seeds: Sequence[int],
        *,
        shapes: str = 'train',
        split: str = 'fit',
        size: tuple[int, int] = SCENE_SIZE,
    ) -> None:
        self.title = f'scenes_{shapes}'
        self.seeds = seeds
        self.shapes = shapes
        self.split = split
        self.size = size

    def __len__(self) -> int:
        """Return the number of scenes."""
        return len(self.seeds)

    def share(
        self, part: int, parts: int, done: Container[int] = ()
    ) -> Iterator[tuple[int, LabelledFrame]]:
        """Yield number and frame of every parts-th scene, from number `part` on."""
        for index in range(part, len(self.seeds), parts):
            if index in done:
                continue
            seed = self.seeds[index]
            scene = render_scene(seed, size=self.size, split=self.shapes)
            name = f'{self.title}/{seed}'
            yield (
                index,
                LabelledFrame(
                    image=scene.image,
                    target=scene_target(scene.classes, scene.ood_ids),
                    name=name,
                    group=name,
                    split=self.split,
                    instances=scene.ood_ids.astype(np.int32),
                ),
            )


def scene_target(classes: np.ndarray, ood_ids: np.ndarray) -> np.ndarray:
    """Return the target (H, W) uint8 of a scene: its classes, and OOD where an object is."""
    return np.where(ood_ids > 0, np.uint8(OOD), classes).astype(np.uint8)


def parse_seeds(text: str) -> range:
    """Return the seeds of 'FIRST:END', END excluded."""
    first, colon, end = text.partition(':')
    if not colon or not first.isdigit() or not end.isdigit() or int(end) <= int(first):
        raise ValueError(
            f'scene seeds must be given as FIRST:END with FIRST < END, got {text!r}. '
            'Example: 0:300 for seeds 0 to 299.'
        )
    return range(int(first), int(end))
