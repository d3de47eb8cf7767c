"""Procedural street scenes -> samples to train on."""

from pathlib import Path

import cv2
from meta_ood_ros.core.whole_files import replace_whole
from meta_ood_ros.scenes import render_scene
from meta_ood_training.datasets.paired import read_image, read_label
from meta_ood_training.datasets.sample import OOD, Sample
import numpy as np


class SceneSamples:
    """
    Procedural street scenes as samples; their unknown objects are OoD.

    Parameters
    ----------
    folder : Path, optional
        Keeps scenes as PNG, for all processes and runs that name it: each is a quarter of a
        second to draw. Else each process keeps its own in memory.

    """

    region_of_interest = 'the whole image'

    def __init__(
        self,
        count: int,
        *,
        ood_objects: int = 3,
        first_seed: int = 10_000,
        split: str = 'train',
        size: tuple[int, int] = (360, 640),
        folder: Path | None = None,
    ) -> None:
        self.count = count
        self.first_seed = first_seed
        self.split = split
        self.size = size
        self.ood_objects = ood_objects
        self.folder = folder
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
        if self.folder is not None:
            return self._from_folder(index, self.folder)
        if index not in self._drawn:
            # 0.9 MB each and a quarter of a second to draw: kept for the epochs to come.
            self._drawn[index] = self._draw(index)
        return self._drawn[index]

    def _from_folder(self, index: int, folder: Path) -> Sample:
        name = self.names[index]
        height, width = self.size
        kind = f'{self.split}_{self.ood_objects}_{width}x{height}'
        image, label = (folder / f'{kind}_{name}_{part}.png' for part in ('image', 'label'))
        if not label.is_file():
            sample = self._draw(index)
            # the label last: where it stands, the image does
            _write(image, cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR))
            _write(label, sample.target)
            return sample
        return Sample(read_image(image), read_label(label), name, name)

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


def _write(path: Path, pixels: np.ndarray) -> None:
    _, data = cv2.imencode('.png', pixels, (cv2.IMWRITE_PNG_COMPRESSION, 1))
    with replace_whole(path) as stream:
        stream.write(data.tobytes())
