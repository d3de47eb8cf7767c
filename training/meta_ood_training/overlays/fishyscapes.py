"""
Placement and blending in the style of FS Static and FS Web (Blum et al. 2021, section 3.1).

Objects cut out by masks (`ecssd`, `coco`) make a set like FS Static, pictures with an alpha
channel of their own (`folder`) one like FS Web.
"""

from __future__ import annotations

import cv2
from meta_ood_training.datasets import CutOut, IGNORED
from meta_ood_training.overlays import effects
from meta_ood_training.overlays.compositing import noise_level
from meta_ood_training.overlays.plan import FLYING
import numpy as np

MAMMALS = ('cat', 'dog', 'horse', 'sheep', 'cow', 'elephant', 'bear', 'zebra', 'giraffe')
"""Categories that rather stand in the lower half."""
RATHER = 0.75
"""Share of mammals with their centre in the lower half, and of FLYING in the upper."""
TRIES = 200
"""Places that are tried until an object is off the ego vehicle."""

BORDER_PX, BRIGHTNESS_SHARE, HISTOGRAM_SHARE = 3.0, 0.5, 0.4
ZOOM, FAR_SIGMA, OWN_NOISE = 0.008, 1.2, 2.0
GLOW_LIMIT, GLOW_SIGMA, GLOW_STRENGTH = 215.0, 6.0, 0.5
FOG_VISIBILITY, FOG_AIR = (150.0, 600.0), 215.0
"""Metres, log-uniform; grey level of the lit air."""
_NEAREST, _FARTHEST = 5.0, 1000.0


def find_ego(target: np.ndarray) -> np.ndarray:
    """Return the ego vehicle in a target: void that reaches the lower edge, (H, W) bool."""
    count, parts = cv2.connectedComponents((target == IGNORED).astype(np.uint8), connectivity=4)
    touching = np.zeros(count, bool)
    touching[np.unique(parts[-1])] = True
    touching[0] = False
    return touching[parts]


def prefer_half(place: float, category: str) -> float:
    """Return the row of an object's centre, a share of the height, for a uniform number."""
    if category in MAMMALS:
        upper = 1 - RATHER
    elif category in FLYING:
        upper = RATHER
    else:
        return place
    if place < upper:
        return 0.5 * place / upper
    return 0.5 + 0.5 * (place - upper) / (1 - upper)


def place_freely(
    mask: np.ndarray, category: str, ego: np.ndarray, rng: np.random.Generator
) -> tuple[int, int]:
    """
    Return a corner anywhere on the frame, the object whole and off the ego vehicle.

    Raises
    ------
    ValueError
        There is no such place.

    """
    rows, columns = mask.shape
    room = ego.shape[0] - rows, ego.shape[1] - columns
    if min(room) >= 0:
        for _ in range(TRIES):
            row, column = rng.random(2)
            top = round(prefer_half(row, category) * ego.shape[0] - rows / 2)
            corner = min(max(top, 0), room[0]), round(column * room[1])
            there = ego[corner[0] : corner[0] + rows, corner[1] : corner[1] + columns]
            if not (there & mask).any():
                return corner
    raise ValueError(
        f'an object must find room beside the ego vehicle, got none for {mask.shape} px on a '
        f'frame of {ego.shape}, {ego.mean():.0%} of it ego vehicle. Lower --area.'
    )


def add_weather(
    frame: np.ndarray, sky: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """
    Return a frame, in fog with this probability, and its visibility [m], 0 without.

    Objects come later: fog lies on in-distribution pixels alone. Sky, (H, W) bool, is infinitely
    far; all else is as far as in a plain street, see `effects.street_distance`.
    """
    is_foggy, place = rng.random() < share, rng.random()
    if not is_foggy:
        return frame, 0.0
    low, high = FOG_VISIBILITY
    visibility = low * (high / low) ** place
    distance = effects.street_distance(frame.shape[:2], nearest=_NEAREST, farthest=_FARTHEST)
    distance[sky] = _FARTHEST
    foggy = effects.add_fog(frame.astype(np.float32), distance, visibility=visibility, air=FOG_AIR)
    return np.clip(np.rint(foggy), 0, 255).astype(np.uint8), float(visibility)


def blend(
    frame: np.ndarray,
    cut_out: CutOut,
    corner: tuple[int, int],
    rng: np.random.Generator,
    *,
    alpha: np.ndarray | None = None,
    is_known: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """
    Return a frame with an object on it, and where the object is.

    Parameters
    ----------
    frame : ndarray of shape (H, W, 3), uint8
        RGB.
    alpha : ndarray of shape (h, w), float32, optional
        The object's own transparency in [0, 1]; by default the smoothed mask.
    is_known : bool
        An in-distribution object as control keeps its colours.

    Returns
    -------
    image : ndarray of shape (H, W, 3), uint8
        RGB.
    covered : ndarray of shape (H, W), bool
        Where the object makes at least half of the pixel.

    """
    rows, columns = cut_out.mask.shape
    window = slice(corner[0], corner[0] + rows), slice(corner[1], corner[1] + columns)
    street = frame.astype(np.float32)
    mask = np.zeros(frame.shape[:2], bool)
    mask[window] = cut_out.mask
    layer = np.zeros(frame.shape, np.float32)
    layer[window] = cut_out.image
    layer = _spread_colours(layer, mask)
    if alpha is None:
        cover = effects.smooth_alpha(mask, BORDER_PX)
    else:
        cover = np.zeros(frame.shape[:2], np.float32)
        cover[window] = alpha
    layer = effects.shift_brightness(layer, cover, street, BRIGHTNESS_SHARE)
    if not is_known:
        layer = effects.invert_histogram(layer, street, HISTOGRAM_SHARE)
    layer, cover = effects.blur_radially(layer, cover, ZOOM)
    bottom = (corner[0] + rows) / frame.shape[0]
    layer, cover = effects.blur_evenly(layer, cover, effects.depth_sigma(bottom, FAR_SIGMA))
    layer = effects.add_colour_noise(layer, float(np.hypot(noise_level(frame), OWN_NOISE)), rng)
    weight = cover[..., None]
    mixed = weight * layer + (1 - weight) * street
    mixed = effects.add_glow(
        mixed, cover, limit=GLOW_LIMIT, sigma=GLOW_SIGMA, strength=GLOW_STRENGTH
    )
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8), cover >= 0.5


def _spread_colours(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return pixels whose surroundings continue the object: no halo of the photograph it is of."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=2) > 0
    known = inner if inner.any() else mask
    weight = known.astype(np.float32)
    near = cv2.GaussianBlur(np.dstack([pixels * weight[..., None], weight]), (0, 0), 3.0)
    share = near[..., 3:]
    continued = np.where(
        share > 1e-3, near[..., :3] / np.maximum(share, 1e-3), pixels[known].mean(axis=0)
    )
    return np.where(known[..., None], pixels, continued).astype(np.float32)


def own_alpha(pixels: np.ndarray) -> np.ndarray | None:
    """
    Return the smooth transparency of an RGBA picture, None where it has none.

    Parameters
    ----------
    pixels : ndarray of shape (H, W) or (H, W, channels), uint8
        As the file holds them.

    Returns
    -------
    ndarray of shape (H, W), float32, or None
        In [0, 1]. A channel of 0 and 255 alone is a mask, not yet smooth.

    """
    if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8:
        return None
    alpha = pixels[..., 3]
    if not ((alpha > 0) & (alpha < 255)).any():
        return None
    return alpha.astype(np.float32) / 255
