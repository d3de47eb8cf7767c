"""Procedural street scenes -> samples to train on."""

from meta_ood_ros.scenes import render_scene
from meta_ood_training.datasets.sample import OOD, Sample
import numpy as np


class SceneSamples:
    """Procedural street scenes as samples; their unknown objects are OoD."""

    region_of_interest = 'the whole image'

    def __init__(
        self,
        count: int,
        *,
        ood_objects: int = 3,
        first_seed: int = 10_000,
        split: str = 'train',
        size: tuple[int, int] = (360, 640),
    ) -> None:
        self.count = count
        self.first_seed = first_seed
        self.split = split
        self.size = size
        self.ood_objects = ood_objects
        self._drawn: dict[int, Sample] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all scenes: their seeds."""
        return tuple(f'scene_{self.first_seed + index}' for index in range(self.count))

    groups = names

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(index)
        if index not in self._drawn:
            # 0.9 MB each and a quarter of a second to draw: kept for the epochs to come.
            self._drawn[index] = self._draw(index)
        return self._drawn[index]

    def _draw(self, index: int) -> Sample:
        scene = render_scene(
            self.first_seed + index,
            size=self.size,
            ood_objects=(0, self.ood_objects),
            split=self.split,
        )
        target = np.where(scene.ood_ids > 0, np.uint8(OOD), scene.classes).astype(np.uint8)
        name = self.names[index]
        return Sample(scene.image, target, name, name)
