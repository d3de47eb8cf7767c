"""Colours and surface patterns of unknown things."""

from meta_ood_ros.scenes.noise import noise
from meta_ood_ros.scenes.sketch import Sketch
import numpy as np

_EARTH = np.array(
    [(96, 70, 48), (140, 110, 80), (60, 48, 40), (172, 150, 120), (210, 204, 192), (48, 46, 46),
     (120, 116, 110), (84, 84, 62), (232, 228, 220)],
    np.float32,
)  # fmt: skip


def earthy_colour(rng: np.random.Generator) -> np.ndarray:
    """Return a colour of fur, stone or wood, shape (3,), 0..255."""
    return _EARTH[rng.integers(len(_EARTH))] * np.float32(rng.uniform(0.75, 1.2))


def any_colour(rng: np.random.Generator) -> np.ndarray:
    """Return an earthy or a vivid colour, shape (3,), 0..255."""
    if rng.random() < 0.5:
        return earthy_colour(rng)
    wheel = np.cos(rng.uniform(0, 2 * np.pi) + np.array([0, -2.1, 2.1]))
    return np.array(
        np.clip(rng.uniform(70, 190) + rng.uniform(30, 110) * wheel, 10, 250), np.float32
    )


def wear_coat(rng: np.random.Generator, sketch: Sketch) -> None:
    """Give a sketch a pattern: plain, fur, spots, patches, stripes, checks or grain; in place."""
    height, width = sketch.size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    wobble = 0.05 * noise(rng, 'cloud', sketch.size, 0.5)
    kind = rng.choice(['plain', 'fur', 'spots', 'patches', 'stripes', 'checks', 'wood'])
    other, opacity = any_colour(rng), rng.uniform(0.4, 0.95)
    if kind == 'fur':
        sketch.textured(noise(rng, 'grain', (height, width // 3 + 1), 1.0).repeat(3, 1)[:, :width],
                        0.22)  # fmt: skip
    elif kind == 'spots':
        spots = noise(rng, 'plaster', sketch.size, 1.3) > rng.uniform(0.7, 1.2)
        sketch.recoloured(spots, other, opacity)
    elif kind == 'patches':
        sketch.recoloured(noise(rng, 'cloud', sketch.size, 0.35) > 0.3, other, opacity)
    elif kind == 'stripes':
        period = rng.uniform(0.06, 0.3)
        sketch.recoloured(np.mod(along + wobble, period) < 0.5 * period, other, opacity)
    elif kind == 'checks':
        period = rng.uniform(0.12, 0.4)
        odd = (np.mod(along, period) < period / 2) ^ (np.mod(across, period) < period / 2)
        sketch.recoloured(odd, other, opacity)
    elif kind == 'wood':
        sketch.textured(np.sin(across * rng.uniform(40, 110) + 6 * wobble * 20), 0.14)
    sketch.textured(noise(rng, 'plaster', sketch.size), rng.uniform(0.02, 0.14))
