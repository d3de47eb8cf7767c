"""Bytes of a JPEG, PNG or other image file -> (H, W, 3) uint8 RGB."""

from __future__ import annotations

from typing import Any

import cv2
from meta_ood_ros.core.image_bytes import is_complete
import numpy as np

# The EXIF orientation is ignored: CameraInfo describes the pixels as they lie in the file.
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def decode_compressed(data: Any, *, format: str = '') -> np.ndarray:
    """
    Return the pixels of a compressed image as RGB.

    Returns
    -------
    ndarray of shape (H, W, 3), uint8
        RGB, C-contiguous.

    Raises
    ------
    ValueError
        No image can be read, or it is cut short (older OpenCV fills the rest with grey).

    """
    content = bytes(data)
    if not content:
        raise ValueError(
            f'compressed image ({format!r}) must have data, got 0 bytes. Check the camera driver.'
        )
    if 'compresseddepth' in format.lower():
        raise ValueError(
            f'compressed image must be a colour or grey picture, got format {format!r}. '
            'Subscribe to the transport compressed, not compressedDepth.'
        )
    if not is_complete(content):
        raise ValueError(
            f'compressed image ({format!r}) must reach its end marker, got {len(content)} bytes '
            'that stop before it. The image is truncated: check the network and the driver.'
        )
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), _FLAGS)
    if pixels is None:
        raise ValueError(
            f'compressed image ({format!r}) must be a JPEG, PNG or other file that OpenCV reads, '
            f'got {len(content)} bytes that it does not. Check the camera driver.'
        )
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
