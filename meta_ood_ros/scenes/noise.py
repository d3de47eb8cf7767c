"""Tileable random fields: the grain of asphalt, plaster, leaves and clouds."""

import functools

import cv2
import numpy as np

TILE = 512  # px; larger than any texture drawn here, so that repeats do not show

# Amplitude of a field falls as frequency to the minus this power.
ROUGHNESS = {'white': 0.0, 'grain': 0.6, 'plaster': 1.1, 'cloud': 1.7}


@functools.cache
def noise_tile(kind: str) -> np.ndarray:
    """
    Return one fixed tile of noise that continues across its own borders.

    Returns
    -------
    ndarray of float32, shape (512, 512)
        Mean 0, standard deviation 1.

    """
    rng = np.random.default_rng(list(ROUGHNESS).index(kind))
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE)))
    row = np.fft.fftfreq(TILE)[:, None]
    column = np.fft.rfftfreq(TILE)[None, :]
    radius = np.hypot(row, column)
    radius[0, 0] = np.inf  # the mean carries no texture
    field = np.fft.irfft2(spectrum / radius ** ROUGHNESS[kind], s=(TILE, TILE))
    field = ((field - field.mean()) / field.std()).astype(np.float32)
    field.setflags(write=False)
    return field


@functools.cache
def _four_tiles(kind: str) -> np.ndarray:
    """Two by two tiles, so that a cut-out is a slice wherever it begins."""
    tiles = np.tile(noise_tile(kind), (2, 2))
    tiles.setflags(write=False)
    return tiles


def noise(
    rng: np.random.Generator, kind: str, shape: tuple[int, int], zoom: float = 1.0
) -> np.ndarray:
    """
    Return a random cut-out of a noise tile.

    Returns
    -------
    ndarray of float32, shape (height, width)
        About mean 0, standard deviation 1.

    """
    rows = max(int(np.ceil(shape[0] / zoom)), 1)
    columns = max(int(np.ceil(shape[1] / zoom)), 1)
    top, left = rng.integers(TILE, size=2)
    if rows <= TILE and columns <= TILE:
        patch = _four_tiles(kind)[top : top + rows, left : left + columns]
    else:
        patch = noise_tile(kind).take(range(top, top + rows), axis=0, mode='wrap')
        patch = patch.take(range(left, left + columns), axis=1, mode='wrap')
    if patch.shape != tuple(shape):
        patch = cv2.resize(patch, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return patch


def noise_on_plane(kind: str, x: np.ndarray, z: np.ndarray, per_metre: float) -> np.ndarray:
    """
    Return the noise that lies on the ground under every pixel.

    Parameters
    ----------
    x, z : ndarray of float32, shape (H, W)
        Ground position of each pixel [m].

    Returns
    -------
    ndarray of float32, shape (H, W)

    """
    u = np.mod(x * np.float32(per_metre), np.float32(TILE))
    v = np.mod(z * np.float32(per_metre), np.float32(TILE))
    return cv2.remap(noise_tile(kind), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
