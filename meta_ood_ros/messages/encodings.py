"""Bytes of a camera image in an encoding of sensor_msgs -> (H, W, 3) uint8 RGB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

_MONO16_TO_BYTE = 255.0 / 65535.0


@dataclass(frozen=True)
class Encoding:
    """
    How the bytes of one image lie in memory.

    Parameters
    ----------
    half_rows : int
        Half rows of bytes for each image row: 2, or 3 where a chroma plane of half the height
        follows (nv12).

    """

    channels: int
    to_rgb: int | None
    sample_bytes: int = 1
    half_rows: int = 2
    multiple: tuple[int, int] = (1, 1)


_YUYV = Encoding(2, cv2.COLOR_YUV2RGB_YUY2, multiple=(1, 2))
_UYVY = Encoding(2, cv2.COLOR_YUV2RGB_UYVY, multiple=(1, 2))

#: Names of sensor_msgs/image_encodings. Humble says yuv422 and yuv422_yuy2 where later
#: distributions say uyvy and yuyv. OpenCV names a Bayer pattern by the second row's second and
#: third pixel, ROS by the first two of the first row: hence BG for rggb.
ENCODINGS = {
    'rgb8': Encoding(3, None),
    'bgr8': Encoding(3, cv2.COLOR_BGR2RGB),
    'rgba8': Encoding(4, cv2.COLOR_RGBA2RGB),
    'bgra8': Encoding(4, cv2.COLOR_BGRA2RGB),
    'mono8': Encoding(1, cv2.COLOR_GRAY2RGB),
    'mono16': Encoding(1, cv2.COLOR_GRAY2RGB, sample_bytes=2),
    'bayer_rggb8': Encoding(1, cv2.COLOR_BayerBG2RGB, multiple=(2, 2)),
    'bayer_bggr8': Encoding(1, cv2.COLOR_BayerRG2RGB, multiple=(2, 2)),
    'bayer_gbrg8': Encoding(1, cv2.COLOR_BayerGR2RGB, multiple=(2, 2)),
    'bayer_grbg8': Encoding(1, cv2.COLOR_BayerGB2RGB, multiple=(2, 2)),
    'yuv422': _UYVY,
    'uyvy': _UYVY,
    'yuv422_yuy2': _YUYV,
    'yuyv': _YUYV,
    'nv12': Encoding(1, cv2.COLOR_YUV2RGB_NV12, half_rows=3, multiple=(2, 2)),
}


def decode_pixels(
    data: Any,
    *,
    encoding: str,
    height: int,
    width: int,
    step: int,
    is_bigendian: bool = False,
) -> np.ndarray:
    """
    Return the pixels of an uncompressed image as RGB.

    Returns
    -------
    ndarray of shape (H, W, 3), uint8
        RGB, C-contiguous. For rgb8 without padding it is a view of `data`: do not write to it.

    Raises
    ------
    ValueError
        Unknown encoding, or sizes that contradict each other.

    Notes
    -----
    mono16 is scaled by 255/65535, as cv_bridge does; YUV is BT.601 with limited range, as
    sensor_msgs defines it.

    """
    layout = ENCODINGS.get(encoding)
    if layout is None:
        raise ValueError(
            f'image encoding must be one of {", ".join(ENCODINGS)}, got {encoding!r}. '
            'Set the camera driver to one of these.'
        )
    rows = _check_sizes(layout, encoding, height, width, step)
    pixels = np.frombuffer(data, np.uint8)
    if pixels.size != step * rows:
        raise ValueError(
            f'image data must be step x rows = {step} x {rows} = {step * rows} bytes for a '
            f'{height} x {width} {encoding} image, got {pixels.size}. Check the camera driver.'
        )
    row_bytes = width * layout.channels * layout.sample_bytes
    pixels = pixels.reshape(rows, step)[:, :row_bytes]
    if layout.sample_bytes == 2:
        samples = np.ascontiguousarray(pixels).view('>u2' if is_bigendian else '<u2')
        # cv2 wants native byte order; newbyteorder() is gone from numpy 2.
        pixels = cv2.convertScaleAbs(samples.astype(np.uint16, copy=False), alpha=_MONO16_TO_BYTE)
    if layout.channels > 1:
        # A slice of padded rows cannot be reshaped in place: only then this copies.
        pixels = np.ascontiguousarray(pixels).reshape(height, width, layout.channels)
    if layout.to_rgb is None:
        return pixels
    return cv2.cvtColor(pixels, layout.to_rgb)


def _check_sizes(layout: Encoding, encoding: str, height: int, width: int, step: int) -> int:
    """Return the number of rows of bytes, or raise."""
    if height < 1 or width < 1:
        raise ValueError(
            f'image must have at least one pixel, got {height} x {width}. Check the camera driver.'
        )
    multiple = layout.multiple
    if height % multiple[0] or width % multiple[1]:
        raise ValueError(
            f'{encoding} image must have a height and width that are multiples of {multiple[0]} '
            f'and {multiple[1]}, got {height} x {width}. Check the camera driver.'
        )
    row_bytes = width * layout.channels * layout.sample_bytes
    if step < row_bytes:
        raise ValueError(
            f'image step must be at least {row_bytes} bytes for {width} pixels of {encoding}, '
            f'got {step}. Check the camera driver.'
        )
    return height * layout.half_rows // 2
