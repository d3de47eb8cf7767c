"""Bytes of a JPEG, PNG or other image file -> (H, W, 3) uint8 RGB."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

_JPEG_START = b'\xff\xd8'
_JPEG_END = b'\xff\xd9'
_PNG_START = b'\x89PNG\r\n\x1a\n'
_PNG_END = b'IEND'

# The EXIF orientation is ignored: CameraInfo describes the pixels as they lie in the file.
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def decode_compressed(data: Any, *, format: str = '') -> np.ndarray:
    """
    Return the pixels of a compressed image as RGB.

    Parameters
    ----------
    data : buffer of bytes
        array.array('B') as rclpy delivers it, bytes, or an array of uint8.
    format : str
        The field of sensor_msgs/CompressedImage; only shown in messages, the bytes decide.

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
    if not _is_complete(content):
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


def _is_complete(content: bytes) -> bool:
    """Return False where the format is known and its end marker is missing."""
    if content.startswith(_JPEG_START):
        return _jpeg_reaches_its_end(content)
    if content.startswith(_PNG_START):
        return content.rfind(_PNG_END, -64) >= 0
    return True


def _jpeg_reaches_its_end(content: bytes) -> bool:
    """
    Return whether an end marker follows the start of the scan.

    The segments before it are stepped over, because a thumbnail inside EXIF has an end marker of
    its own; within a scan the byte 0xff is never followed by 0xd9 (ITU T.81, B.1.1.5).
    """
    position = len(_JPEG_START)
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        length = int.from_bytes(content[position + 2 : position + 4], 'big')
        if marker == 0xDA:  # start of scan
            return content.find(_JPEG_END, position + 2 + length) >= 0
        position += 2 + length
    return False
