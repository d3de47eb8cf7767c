"""The true depth of a scene -> what a stereo camera measures: noise, holes, a range."""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class StereoCamera:
    """
    The second camera stands to the right; depth z is focal * baseline / disparity.

    Attributes
    ----------
    baseline : float
        Distance of the two cameras [m].
    disparity_noise : float
        Standard deviation of a match [px]; the error of depth grows with its square.
    window : float
        Width over which errors of matches are alike [px].
    edge : int
        Width of the rim on the far side of a jump in depth that takes the near depth [px].
    dropouts : float
        Share of the matches that fail, in patches of the size of the window.
    nearest, farthest : float
        Range [m]; nothing is measured outside.

    """

    baseline: float = 0.12
    disparity_noise: float = 0.15
    window: float = 5.0
    edge: int = 1
    dropouts: float = 0.05
    nearest: float = 0.3
    farthest: float = 40.0


def stereo_depth(
    depth: np.ndarray, focal: float, seed: int, camera: StereoCamera | None = None
) -> np.ndarray:
    """
    Return the depth image of a stereo camera.

    Parameters
    ----------
    depth : ndarray of float32, shape (H, W)
        True depth [m], as in `Scene.depth`.
    focal : float
        Focal length [px].
    seed : int
        Equal seeds give equal noise.
    camera : StereoCamera or None
        None takes the default one.

    Returns
    -------
    ndarray of float32, shape (H, W)
        Registered to the picture [m]; NaN where nothing was measured: what the second camera
        does not see, failed matches, and everything out of range.

    """
    camera = camera or StereoCamera()
    if depth.ndim != 2 or not focal > 0 or not camera.baseline > 0:
        raise ValueError(
            'depth must have shape (H, W), focal and baseline be greater than 0, got '
            f'{depth.shape}, {focal} and {camera.baseline}. Pass Scene.depth and its focal length.'
        )
    rng = np.random.default_rng(seed)
    disparity = np.float32(focal * camera.baseline) / depth.astype(np.float32)
    seen = _is_seen_by_both(disparity)
    if camera.edge:
        # windows that straddle a jump match the nearer surface
        side = 2 * camera.edge + 1
        disparity = cv2.dilate(disparity, np.ones((side, side), np.uint8))
    error = _patches(rng, depth.shape, camera.window) * np.float32(camera.disparity_noise)
    failed = _patches(rng, depth.shape, camera.window)
    matched = disparity + error
    with np.errstate(divide='ignore'):
        measured = np.float32(focal * camera.baseline) / matched
    valid = seen & (matched > 0)
    if camera.dropouts > 0:
        valid &= failed > np.quantile(failed, camera.dropouts)
    valid &= (measured >= camera.nearest) & (measured <= camera.farthest)
    return np.where(valid, measured, np.float32(np.nan))


def _is_seen_by_both(disparity: np.ndarray) -> np.ndarray:
    """Tell where no nearer surface to the right hides a pixel from the second camera."""
    columns = np.arange(disparity.shape[1], dtype=np.float32)
    there = columns - disparity
    leftmost = np.minimum.accumulate(there[:, ::-1], axis=1)[:, ::-1]
    seen = np.ones(disparity.shape, bool)
    # half a pixel: neighbours of a slanted surface may share a pixel there
    seen[:, :-1] = there[:, :-1] < leftmost[:, 1:] + 0.5
    return seen & (there >= 0)


def _patches(rng: np.random.Generator, shape: tuple[int, int], width: float) -> np.ndarray:
    """Return normal noise of unit variance that is alike over about `width` pixels."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    if width > 1:
        noise = cv2.GaussianBlur(noise, (0, 0), width / 2.5)
        noise /= noise.std()
    return noise
