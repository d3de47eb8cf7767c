"""Samples of 16 bits -> bytes, of which sensors use 10, 12, 14 or all."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

#: What sensors use of 16 bits.
_USUAL_BITS = (8, 10, 12, 14, 16)


def no_warning(sentence: str) -> None:
    """Leave unsaid what a caller does not ask for."""


def to_bytes(
    samples: np.ndarray, bits: int = 16, warn: Callable[[str], None] = no_warning
) -> np.ndarray:
    """
    Return samples scaled by 255 / (2^bits - 1), as cv_bridge does with 16.

    Parameters
    ----------
    samples : ndarray of shape (H, W) or (H, W, C), uint16
        In native byte order.
    bits : int
        How many are used; what is brighter becomes white.
    warn : callable
        Told where the samples use a quarter of the range or less, or go beyond it.

    """
    brightest = int(samples.max())
    if brightest >= 1 << bits:
        warn(
            f'Samples of the images go beyond the {bits} bits of mono16_bits and become white. '
            f'Set it to {_bits_for(brightest)} or more.'
        )
    elif 0 < brightest and (used := _bits_for(brightest)) <= bits - 2:
        warn(
            f'The picture uses 1/{1 << (bits - used)} of the range of its {bits}-bit samples and '
            f'is dark. If the sensor has {used} bits, set mono16_bits to {used}.'
        )
    return cv2.convertScaleAbs(samples, alpha=255.0 / ((1 << bits) - 1))


def _bits_for(brightest: int) -> int:
    return next(bits for bits in _USUAL_BITS if brightest < 1 << bits)
