"""Labelled images for benchmarks of quality."""

from collections.abc import Callable
from pathlib import Path

import cv2
from meta_ood_training.datasets import OOD
import numpy as np
import pytest


@pytest.fixture
def write_domain() -> Callable[[Path, int], None]:
    """Return a function that draws one kind of street into a folder."""

    def write(folder: Path, seed: int) -> None:
        """Write noise with a bright square that is OoD in every second image."""
        rng = np.random.default_rng(seed)
        for part in ('images', 'labels'):
            (folder / part).mkdir(parents=True)
        for number in range(6):
            image = rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)
            label = np.zeros((64, 96), np.uint8)
            if number % 2:
                image[20:44, 30:60] = 255
                label[20:44, 30:60] = OOD
            cv2.imwrite(str(folder / f'images/{seed}_{number}.png'), image)
            cv2.imwrite(str(folder / f'labels/{seed}_{number}.png'), label)

    return write
