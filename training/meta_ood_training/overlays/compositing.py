"""
Object + frame -> frame with the object, as the overlay test set blends (Fishyscapes' steps).

Fixed strengths, linear light and distances where training (`pasting`) draws random ones, works
in Lab and blurs masks: what training leaves at a border is not found here.
"""

import cv2
from meta_ood_training.datasets.objects import CutOut
import numpy as np

BLENDING = ('none', 'border', 'colour', 'full')
"""Ablation of the blending: nothing; smooth border; + brightness and colour; + blur and noise."""

BORDER = 2.0
"""Pixels over which the object fades in from its edge."""
BRIGHTNESS_SHARE = 0.5
"""Share of the way from the object's brightness to that of the pixels it covers."""
COLOUR_SHARE = 0.3
"""Share of the way from the object's colour histogram to the frame's."""
ZOOM = 0.008
"""Half width of the radial motion blur, as a change of scale about the vanishing point."""
HORIZON = 0.45
"""Row of the vanishing point as a share of the height."""
FAR_BLUR = 0.8
"""Sigma of the blur of an object that stands at the horizon [px]; none at the lower edge."""
GAMMA = 2.2


def composite(
    frame: np.ndarray,
    cut_out: CutOut,
    corner: tuple[int, int],
    blending: str,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """
    Return a frame with an object on it, and where the object is.

    Parameters
    ----------
    frame : ndarray of shape (H, W, 3), uint8
        RGB.

    Returns
    -------
    image : ndarray of shape (H, W, 3), uint8
        RGB.
    covered : ndarray of shape (H, W), bool
        Where the object makes at least half of the pixel.

    """
    if blending not in BLENDING:
        raise ValueError(f'blending must be one of {", ".join(BLENDING)}, got {blending!r}.')
    rows, columns = cut_out.mask.shape
    if (
        min(corner) < 0
        or corner[0] + rows > frame.shape[0]
        or corner[1] + columns > frame.shape[1]
    ):
        raise ValueError(
            f'the object must lie inside the frame of {frame.shape[:2]}, got a box of '
            f'{cut_out.mask.shape} at {corner}. Scale it down or move it.'
        )
    step = BLENDING.index(blending)
    window = slice(corner[0], corner[0] + rows), slice(corner[1], corner[1] + columns)
    pixels = cut_out.image.astype(np.float32)
    if step >= BLENDING.index('colour'):
        pixels = _match_brightness(pixels, cut_out.mask, frame[window])
        pixels = _match_colours(pixels, cut_out.mask, frame)
    layer = np.zeros(frame.shape, np.float32)
    layer[window] = pixels
    alpha = np.zeros(frame.shape[:2], np.float32)
    alpha[window] = _fade_in(cut_out.mask) if step else cut_out.mask
    if step >= BLENDING.index('full'):
        bottom = (corner[0] + rows) / frame.shape[0]
        layer, alpha = _blur(layer, alpha, bottom)
        layer = layer + rng.normal(0, noise_level(frame), layer.shape).astype(np.float32)
    weight = alpha[..., None]
    mixed = weight * layer + (1 - weight) * frame
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8), alpha >= 0.5


def noise_level(frame: np.ndarray) -> float:
    """
    Return the standard deviation of a frame's pixel noise.

    Parameters
    ----------
    frame : ndarray of shape (H, W, 3), uint8
        RGB.

    Returns
    -------
    float
        Grey levels, from the median absolute response to a difference of Laplacians, which
        smooth surfaces and straight edges leave at zero (Immerkaer 1996).

    """
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = cv2.filter2D(frame.astype(np.float32), -1, mask)[1:-1, 1:-1]
    # 36 = sum of the squared weights; 0.6745 makes the median a standard deviation.
    return float(np.median(np.abs(response)) / 0.6745 / 6.0)


def _fade_in(mask: np.ndarray) -> np.ndarray:
    """Rise from the mask's edge to its inside over BORDER pixels."""
    padded = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    # The outermost pixels lie half a pixel inside the edge.
    return np.clip((depth - 0.5) / BORDER + 0.25, 0, 1) * mask


def _match_brightness(pixels: np.ndarray, mask: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Scale linear light toward the mean brightness of the covered pixels."""
    own = (pixels / 255) ** GAMMA
    wanted = ((covered.astype(np.float32) / 255) ** GAMMA)[mask].mean()
    gain = (wanted / max(own[mask].mean(), 1e-4)) ** BRIGHTNESS_SHARE
    return 255 * np.clip(own * np.clip(gain, 0.25, 4), 0, 1) ** (1 / GAMMA)


def _match_colours(pixels: np.ndarray, mask: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Move each channel's quantiles toward the frame's, the object's brightness kept."""
    matched = np.empty_like(pixels)
    levels = np.linspace(0, 1, 65)
    for channel in range(3):
        own = np.quantile(pixels[..., channel][mask], levels)
        theirs = np.quantile(frame[..., channel], levels)
        # np.interp wants ascending places; equal quantiles are pushed apart by less than a level.
        own = own + np.arange(levels.size) * 1e-4
        matched[..., channel] = np.interp(pixels[..., channel], own, theirs)
    matched += pixels[mask].mean() - matched[mask].mean()
    return np.clip(pixels + COLOUR_SHARE * (matched - pixels), 0, 255)


def _blur(layer: np.ndarray, alpha: np.ndarray, bottom: float) -> tuple[np.ndarray, np.ndarray]:
    """Blur by the car's motion, and by distance: what stands higher in the image is farther."""
    height, width = alpha.shape
    centre_x, centre_y = width / 2, HORIZON * height
    stack = np.dstack([layer * alpha[..., None], alpha])
    total = np.zeros_like(stack)
    scales = np.linspace(1 - ZOOM, 1 + ZOOM, 5)
    for scale in scales:
        matrix = np.array(
            [[scale, 0, centre_x * (1 - scale)], [0, scale, centre_y * (1 - scale)]], np.float32
        )
        total += cv2.warpAffine(stack, matrix, (width, height))
    total /= len(scales)
    sigma = FAR_BLUR * np.clip((1 - bottom) / (1 - HORIZON), 0, 1)
    if sigma > 0.2:
        total = cv2.GaussianBlur(total, (0, 0), float(sigma))
    alpha = total[..., 3]
    return total[..., :3] / np.maximum(alpha, 1e-6)[..., None], alpha
