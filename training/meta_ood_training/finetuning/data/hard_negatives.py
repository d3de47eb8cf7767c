"""What looks unknown and is not: cast shadows, and paint on the road, under unchanged labels."""

from dataclasses import dataclass

import cv2
from meta_ood_training.datasets.sample import Sample
from meta_ood_training.finetuning.data.augmentation import to_uint8
from meta_ood_training.finetuning.data.pasting import ROAD
import numpy as np


@dataclass(frozen=True)
class HardNegativeSettings:
    """
    How often a crop gets them, each in [0, 1].

    Attributes
    ----------
    shadow_probability : float
        Of one to three cast shadows anywhere.
    marking_probability : float
        Of one to three patches of paint, on pixels labelled road alone.

    """

    shadow_probability: float = 0.0
    marking_probability: float = 0.0

    def __post_init__(self) -> None:
        for name in ('shadow_probability', 'marking_probability'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name} must lie in [0, 1], got {getattr(self, name)}.')


def add_hard_negatives(
    sample: Sample, settings: HardNegativeSettings, rng: np.random.Generator
) -> Sample:
    """Return a sample with shadows and paint on it, its target unchanged."""
    if settings == HardNegativeSettings():
        return sample
    chances = rng.random(2)
    image = sample.image
    if chances[0] < settings.marking_probability and (sample.target == ROAD).any():
        image = _paint(image, sample.target == ROAD, rng)
    if chances[1] < settings.shadow_probability:
        image = _shade(image, rng)
    if image is sample.image:
        return sample
    return Sample(image, sample.target, sample.name, sample.group)


def _paint(image: np.ndarray, road: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flat quadrilaterals in white, yellow, or dark as tar, thin towards the road's far end."""
    height, width = road.shape
    rows, columns = np.nonzero(road)
    top = int(rows.min())
    painted = image.astype(np.float32)
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(len(rows)))
        row, column = int(rows[place]), int(columns[place])
        near = (row - top + 4) / (height - top + 4)
        half_width = near * width * rng.uniform(0.01, 0.12)
        half_height = near * width * rng.uniform(0.004, 0.06)
        lean = rng.uniform(-1.5, 1.5) * half_height
        quad = np.array(
            [
                (column - 0.8 * half_width + lean, row - half_height),
                (column + 0.8 * half_width + lean, row - half_height),
                (column + half_width - lean, row + half_height),
                (column - half_width - lean, row + half_height),
            ]
        )
        mask = np.zeros((height, width), np.uint8)
        cv2.fillConvexPoly(mask, np.rint(quad).astype(np.int32), 255, cv2.LINE_AA)
        colour = _PAINTS[int(rng.integers(len(_PAINTS)))] * rng.uniform(0.7, 1.0)
        weight = (mask / 255 * road * rng.uniform(0.4, 0.9)).astype(np.float32)[..., None]
        painted = (1 - weight) * painted + weight * colour
    return to_uint8(painted)


_PAINTS = (
    np.array((235, 235, 230), np.float32),
    np.array((235, 235, 230), np.float32),
    np.array((225, 185, 60), np.float32),
    np.array((35, 35, 38), np.float32),
)


def _shade(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Polygons that take away part of the light, with soft or sharp edges."""
    height, width = image.shape[:2]
    light = np.ones((height, width), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        centre = rng.uniform((-0.1, 0.2), (1.1, 1.1)) * (width, height)
        corners = int(rng.integers(3, 8))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        reach = rng.uniform(0.05, 0.4, corners) * width
        stretch = np.array((rng.uniform(0.5, 2.0), rng.uniform(0.2, 1.0)))
        spokes = np.stack([np.cos(angles), np.sin(angles)], 1) * reach[:, None] * stretch
        mask = np.zeros((height, width), np.float32)
        cv2.fillPoly(mask, [np.rint(centre + spokes).astype(np.int32)], 1.0)
        sigma = rng.uniform(0.5, 6.0)
        light *= 1 - cv2.GaussianBlur(mask, (0, 0), sigma) * np.float32(rng.uniform(0.2, 0.65))
    return to_uint8(image * light[..., None])
