"""A depth image as cameras send it: its unit, and which of its pixels shows which."""

import numpy as np
from numpy.typing import NDArray

# Metres of one unit, as REP 118 has it: 16UC1 and 32FC1.
UNITS = {np.dtype(np.uint16): 1e-3, np.dtype(np.float32): 1.0}


def checked_depth(
    image: NDArray[np.uint16] | NDArray[np.float32],
) -> NDArray[np.uint16] | NDArray[np.float32]:
    """Return a depth image as the kernels want it; its type is the key of `UNITS`."""
    native = image.dtype.newbyteorder('=')
    if image.ndim != 2 or 0 in image.shape or native not in UNITS:
        raise ValueError(
            'a depth image must be uint16 [mm] or float32 [m] of shape (H, W), got '
            f'{image.dtype} of shape {image.shape}. Send 16UC1 or 32FC1.'
        )
    return np.ascontiguousarray(image, native)


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
