"""
Single steps of Fishyscapes' blending (Blum et al. 2021, section 3.1), each a function of arrays.

The paper names the steps and no numbers, and its code is not public: all strengths are ours.
Images are (H, W, 3) float32 RGB in [0, 255], alpha (H, W) float32 in [0, 1]; a step returns new
arrays. Light is added and mixed linearly in grey levels, as the paper's pictures were.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

HORIZON = 0.45
"""Row of the vanishing point as a share of the height."""
CAMERA_HEIGHT, WALL_DISTANCE = 1.5, 10.0
"""Metres, in a street of which no depth is known."""
_LAST_CONTRAST = 2.996
"""-log 0.05: fog leaves a twentieth of the contrast at its visibility (Sakaridis et al. 2018)."""


def smooth_alpha(mask: NDArray[np.bool_], width: float) -> F32:
    """
    Return an alpha that falls from 1 to 0 over `width` pixels across the border of a mask.

    It is at least one half exactly on the mask, so that what is labelled stays what was cut out.
    """
    if width <= 0:
        return mask.astype(np.float32)
    inside, outside = (
        cv2.distanceTransform(one.astype(np.uint8), cv2.DIST_L2, 5) for one in (mask, ~mask)
    )
    # pixel centres lie half a pixel beside the border
    signed = np.where(mask, inside - 0.5, 0.5 - outside)
    return np.clip(0.5 + signed / width, 0, 1).astype(np.float32)


def shift_brightness(pixels: F32, alpha: F32, covered: F32, share: float) -> F32:
    """Move the object's mean brightness this share of the way to that of what it covers."""
    weight = alpha / max(float(alpha.sum()), 1e-6)
    own = float((pixels.mean(axis=2) * weight).sum())
    wanted = float((covered.mean(axis=2) * weight).sum())
    return np.clip(pixels + np.float32(share * (wanted - own)), 0, 255)


def invert_histogram(pixels: F32, frame: F32, share: float) -> F32:
    """
    Move colours this share of the way through the frame's inverse colour histogram.

    A level v of a channel goes toward the v / 255 quantile of that channel in the frame.
    """
    levels = np.linspace(0, 255, 256)
    result = np.empty_like(pixels)
    for channel in range(3):
        quantiles = np.quantile(frame[..., channel], levels / 255)
        result[..., channel] = np.interp(pixels[..., channel], levels, quantiles)
    return pixels + np.float32(share) * (result - pixels)


def blur_radially(layer: F32, alpha: F32, zoom: float) -> tuple[F32, F32]:
    """Blur by driving toward the vanishing point: scales of 1 - zoom to 1 + zoom are averaged."""
    height, width = alpha.shape
    centre = np.array([(width - 1) / 2, HORIZON * (height - 1)])
    reach = zoom * max(height, width) / 2
    steps = max(2 * int(np.ceil(reach)) + 1, 3)
    total = np.zeros((height, width, 4), np.float32)
    stack = np.dstack([layer * alpha[..., None], alpha])
    for scale in np.linspace(1 - zoom, 1 + zoom, steps):
        matrix = np.column_stack([scale * np.eye(2), (1 - scale) * centre])
        total += cv2.warpAffine(stack, matrix, (width, height))
    return _divide(total / np.float32(steps))


def depth_sigma(row: float, largest: float) -> float:
    """Return the blur [px] of what stands at a row, a share of the height: most at the horizon."""
    return largest * float(np.clip((1 - row) / (1 - HORIZON), 0, 1))


def blur_evenly(layer: F32, alpha: F32, sigma: float) -> tuple[F32, F32]:
    """Blur an object, as lenses do at its distance."""
    if sigma < 0.2:
        return layer, alpha
    stack = np.dstack([layer * alpha[..., None], alpha])
    return _divide(np.asarray(cv2.GaussianBlur(stack, (0, 0), sigma), np.float32))


def add_colour_noise(pixels: F32, sigma: float, rng: np.random.Generator) -> F32:
    """Add noise of its own to each channel."""
    return pixels + rng.normal(0, sigma, pixels.shape).astype(np.float32)


def add_glow(image: F32, alpha: F32, *, limit: float, sigma: float, strength: float) -> F32:
    """Let what is brighter than `limit` on the object shine around it, as where overexposed."""
    excess = np.maximum(image - limit, 0) * alpha[..., None]
    light = cv2.GaussianBlur(excess, (0, 0), sigma)
    return np.clip(image + np.float32(strength) * light, 0, 255)


def street_distance(shape: tuple[int, int], *, nearest: float, farthest: float) -> F32:
    """
    Return the distance [m] of each pixel in a street of flat ground between two long walls.

    The camera stands CAMERA_HEIGHT above the ground, which the lower edge of the frame shows at
    `nearest`, and WALL_DISTANCE from either wall.
    """
    height, width = shape
    down = (np.arange(height) + 0.5) / height - HORIZON
    aside = np.abs(np.arange(width) + 0.5 - width / 2) / height
    focal = nearest * (1 - HORIZON) / CAMERA_HEIGHT  # in heights of the frame
    ground = CAMERA_HEIGHT * focal / np.maximum(down, 1e-6)
    walls = WALL_DISTANCE * focal / np.maximum(aside, 1e-6)
    distance = np.minimum(np.minimum(ground[:, None], walls[None, :]), farthest)
    return distance.astype(np.float32)


def add_fog(frame: F32, distance: F32, *, visibility: float, air: float) -> F32:
    """Return a frame in homogeneous fog: light that is left, and that of the air (Koschmieder)."""
    left = np.exp(-_LAST_CONTRAST * distance / visibility)[..., None].astype(np.float32)
    return frame * left + np.float32(air) * (1 - left)


def _divide(stack: F32) -> tuple[F32, F32]:
    """Return layer and alpha of a layer that was multiplied by its alpha."""
    layer = stack[..., :3] / np.maximum(stack[..., 3:], np.float32(1e-6))
    return layer, np.clip(stack[..., 3], 0, 1)
