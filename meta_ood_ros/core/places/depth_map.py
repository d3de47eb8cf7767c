"""A depth image as cameras send it -> metres."""

import numpy as np
from numpy.typing import NDArray

_MILLIMETRE = np.float32(1e-3)


def depth_in_metres(image: NDArray[np.uint16] | NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Return the depth in metres.

    Parameters
    ----------
    image : ndarray of shape (H, W), uint16 or float32
        Depth along the optical axis: uint16 in millimetres (16UC1), float32 in metres (32FC1),
        as REP 118 has it.

    Returns
    -------
    ndarray of shape (H, W), float32
        C-contiguous; the image itself where it already is. A pixel holds a depth where it is
        positive and finite; 0, NaN, infinite and negative values are holes.

    """
    if image.ndim != 2 or 0 in image.shape or image.dtype not in (np.uint16, np.float32):
        raise ValueError(
            'a depth image must be uint16 [mm] or float32 [m] of shape (H, W), got '
            f'{image.dtype} of shape {image.shape}. Send 16UC1 or 32FC1.'
        )
    if image.dtype == np.uint16:
        return np.multiply(image, _MILLIMETRE, dtype=np.float32, order='C')
    return np.ascontiguousarray(image)


def nearest_pixels(count: int, of: int) -> NDArray[np.int64]:
    """
    Return for each pixel of an axis the one of another axis whose centre is nearest.

    Parameters
    ----------
    count : int
        Pixels of the axis.
    of : int
        Pixels of the other one, which shows the same.

    Returns
    -------
    ndarray of shape (count,), int64
        Indices 0..of-1, non-decreasing; in integers, so that no rounding moves a border.

    """
    return ((2 * np.arange(count, dtype=np.int64) + 1) * of) // (2 * count)
