"""Bytes of a camera image in an encoding of sensor_msgs -> (H, W, 3) uint8 RGB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import re
from typing import Any

import cv2
from meta_ood_ros.core.error_text import quoted
from meta_ood_ros.core.files.image_file import check_pixels, MAX_PIXELS
from meta_ood_ros.messages.foreign_encodings import decode_with_cv_bridge, decode_with_either
from meta_ood_ros.messages.sixteen_bits import no_warning, to_bytes
import numpy as np


@dataclass(frozen=True)
class Encoding:
    """
    How the bytes of one image lie in memory.

    Parameters
    ----------
    half_rows : int
        Half rows of bytes for each image row: 2, 3 where a chroma plane of half the height
        follows (nv12), 6 where one of twice the width does (nv24).

    """

    channels: int
    to_rgb: int | None
    sample_bytes: int = 1
    half_rows: int = 2
    multiple: tuple[int, int] = (1, 1)
    is_bayer: bool = False


_YUYV = Encoding(2, cv2.COLOR_YUV2RGB_YUY2, multiple=(1, 2))
_UYVY = Encoding(2, cv2.COLOR_YUV2RGB_UYVY, multiple=(1, 2))
#: OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first two
#: of the first row: hence BG for rggb.
_BAYER = {
    'rggb': cv2.COLOR_BayerBG2RGB,
    'bggr': cv2.COLOR_BayerRG2RGB,
    'gbrg': cv2.COLOR_BayerGR2RGB,
    'grbg': cv2.COLOR_BayerGB2RGB,
}
_PLAIN = {
    'rgb': (3, None),
    'bgr': (3, cv2.COLOR_BGR2RGB),
    'rgba': (4, cv2.COLOR_RGBA2RGB),
    'bgra': (4, cv2.COLOR_BGRA2RGB),
    'mono': (1, cv2.COLOR_GRAY2RGB),
}

#: Names of sensor_msgs/image_encodings. Humble says yuv422 and yuv422_yuy2 where later
#: distributions say uyvy and yuyv.
ENCODINGS = {
    **{f'{name}8': Encoding(*rest) for name, rest in _PLAIN.items()},
    **{f'{name}16': Encoding(*rest, sample_bytes=2) for name, rest in _PLAIN.items()},
    **{f'bayer_{name}8': Encoding(1, code, is_bayer=True) for name, code in _BAYER.items()},
    **{f'bayer_{name}16': Encoding(1, code, 2, is_bayer=True) for name, code in _BAYER.items()},
    'yuv422': _UYVY,
    'uyvy': _UYVY,
    'yuv422_yuy2': _YUYV,
    'yuyv': _YUYV,
    'nv12': Encoding(1, cv2.COLOR_YUV2RGB_NV12, half_rows=3, multiple=(2, 2)),
    'nv21': Encoding(1, cv2.COLOR_YUV2RGB_NV21, half_rows=3, multiple=(2, 2)),
    'nv24': Encoding(1, None, half_rows=6),
}

#: What cv_bridge writes where it is told no encoding: numbers of channels, in OpenCV's order.
UNNAMED = {
    '8UC1': 'mono8',
    '8UC3': 'bgr8',
    '8UC4': 'bgra8',
    '16UC3': 'bgr16',
    '16UC4': 'bgra16',
}
_MEASURED = re.compile(r'(8S|16U|16S|32S|32F|64F)(C\d+)?')

# Y, U, V of BT.601 in limited range -> R, G, B.
_YUV_TO_RGB = np.array(
    [
        [1.164383, 0.0, 1.596027, -1.164383 * 16 - 1.596027 * 128],
        [1.164383, -0.391762, -0.812968, -1.164383 * 16 + (0.391762 + 0.812968) * 128],
        [1.164383, 2.017232, 0.0, -1.164383 * 16 - 2.017232 * 128],
    ]
)


def decode_pixels(
    data: Any,
    *,
    encoding: str,
    height: int,
    width: int,
    step: int,
    is_bigendian: bool = False,
    bits: int = 16,
    max_pixels: int = MAX_PIXELS,
    warn: Callable[[str], None] = no_warning,
) -> np.ndarray:
    """
    Return the pixels of an uncompressed image as RGB.

    Parameters
    ----------
    bits : int
        How many bits of 16 are used.
    max_pixels : int
        More are refused.
    warn : callable
        Told what is doubtful about the picture.

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
    16 bits are scaled by 255/65535, as cv_bridge does; YUV is BT.601 with limited range, as
    sensor_msgs defines it.

    """
    check_pixels(height, width, max_pixels)
    name = named_encoding(encoding, warn)
    if name not in ENCODINGS:
        pixels, reason = decode_with_cv_bridge(
            data,
            encoding=encoding,
            height=height,
            width=width,
            step=step,
            is_bigendian=is_bigendian,
        )
        if pixels is None:
            raise ValueError(
                f'image encoding must be one of {", ".join(ENCODINGS)}, got {quoted(encoding)}'
                f' ({reason}). Set the camera driver to one of these.'
            )
        return pixels
    layout = ENCODINGS[name]
    samples = _to_samples(np.frombuffer(data, np.uint8), layout, encoding, height, width, step)
    if layout.sample_bytes == 2:
        samples = np.ascontiguousarray(samples).view('>u2' if is_bigendian else '<u2')
        # cv2 wants native byte order; newbyteorder() is gone from numpy 2.
        samples = to_bytes(samples.astype(np.uint16, copy=False), bits, warn)
    if layout.channels > 1:
        # A slice of padded rows cannot be reshaped in place: only then this copies.
        samples = np.ascontiguousarray(samples).reshape(height, width, layout.channels)
    return decode_with_either(
        lambda some: samples_to_rgb(some, name),
        samples,
        data,
        encoding=name,
        height=height,
        width=width,
        step=step,
        is_bigendian=is_bigendian,
    )


def named_encoding(encoding: str, warn: Callable[[str], None]) -> str:
    """Return what an encoding that only counts channels stands for; ValueError for measures."""
    if encoding in UNNAMED:
        name = UNNAMED[encoding]
        warn(
            f'Images say {encoding} where they should name their colours: taken for {name}. '
            f'Set the encoding to {name} in the driver (cv2_to_imgmsg has an argument for it).'
        )
        return name
    if _MEASURED.fullmatch(encoding):
        raise ValueError(
            f'image encoding must be that of a picture, got {encoding}, which holds measured '
            'values such as depth. Choose the topic of the colour or grey image; a grey camera '
            'of 16 bits says mono16.'
        )
    return encoding


def samples_to_rgb(samples: np.ndarray, name: str) -> np.ndarray:
    """Return the samples of 8 bits of a known encoding as RGB."""
    layout = ENCODINGS[name]
    if layout.half_rows == 6:
        height, width = samples.shape[0] // 3, samples.shape[1]
        chroma = samples[height:].reshape(height, width, 2)
        yuv = np.dstack([samples[:height], chroma])
        return cv2.transform(yuv, _YUV_TO_RGB)
    if layout.is_bayer:
        return _from_bayer(samples, layout, name)
    return samples if layout.to_rgb is None else cv2.cvtColor(samples, layout.to_rgb)


def _from_bayer(mosaic: np.ndarray, layout: Encoding, name: str) -> np.ndarray:
    assert layout.to_rgb is not None  # each pattern has its own
    height, width = mosaic.shape
    if min(height, width) < 2:
        raise ValueError(
            f'{name} image must have at least 2 x 2 pixels, got {height} x {width}. Check the '
            'camera driver.'
        )
    if min(height, width) > 3:
        return cv2.cvtColor(mosaic, layout.to_rgb)
    # OpenCV leaves the outermost pixels out, of which so small a picture consists: mirrored about
    # them the pattern goes on.
    around = cv2.copyMakeBorder(mosaic, 2, 2, 2, 2, cv2.BORDER_REFLECT_101)
    return np.ascontiguousarray(cv2.cvtColor(around, layout.to_rgb)[2:-2, 2:-2])


def _to_samples(
    content: np.ndarray, layout: Encoding, encoding: str, height: int, width: int, step: int
) -> np.ndarray:
    """Return the bytes of each row without padding, after a check of all sizes."""
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
    rows = height * layout.half_rows // 2
    if layout.half_rows > 2 and content.size == step * height == row_bytes * rows:
        step = row_bytes  # some drivers count the chroma of a row as part of it
    if content.size != step * rows:
        raise ValueError(
            f'image data must be step x rows = {step} x {rows} = {step * rows} bytes for a '
            f'{height} x {width} {encoding} image, got {content.size}. Check the camera driver.'
        )
    lines = content.reshape(rows, step)
    if layout.half_rows == 6:  # lines of chroma are twice as long, their padding too
        chroma = lines[height:].reshape(height, 2 * step)[:, : 2 * row_bytes]
        return np.concatenate([lines[:height, :row_bytes], chroma.reshape(-1, row_bytes)])
    return lines[:, :row_bytes]
