"""Bytes of a JPEG, PNG or other image file -> (H, W, 3) uint8 RGB."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
from meta_ood_ros.core.error_text import quoted
from meta_ood_ros.core.image_file import AS_SAMPLED, AS_STORED, decode_image, MAX_PIXELS
from meta_ood_ros.messages.encodings import ENCODINGS, named_encoding, samples_to_rgb
from meta_ood_ros.messages.sixteen_bits import no_warning, to_bytes
import numpy as np

#: What drivers write before the semicolon though it is no encoding.
_CONTAINERS = ('jpeg', 'jpg', 'png', 'webp', 'bmp', 'tiff', 'tif', 'gif')
_COLOURS = [f'{order}{bits}' for order in ('rgb', 'bgr', 'rgba', 'bgra') for bits in (8, 16)]


def decode_compressed(
    data: Any,
    *,
    format: str = '',
    bits: int = 16,
    max_pixels: int = MAX_PIXELS,
    warn: Callable[[str], None] = no_warning,
) -> np.ndarray:
    """
    Return the pixels of a compressed image as RGB.

    Parameters
    ----------
    format : str
        As in a CompressedImage. Without a semicolon the file alone counts; with one it names the
        encoding that was compressed and, behind 'compressed', the one that is in the file.
    bits : int
        How many bits are used where the encoding has 16.
    max_pixels : int
        More are refused before they are decoded.
    warn : callable
        Told what is doubtful about the picture.

    Returns
    -------
    ndarray of shape (H, W, 3), uint8
        RGB, C-contiguous.

    Raises
    ------
    ValueError
        No image can be read, it is cut short (decoders fill the rest with grey), or what `format`
        states is no picture.

    Notes
    -----
    The format is understood as compressed_image_transport writes and reads it: a colour file
    holds BGR only if it says so, otherwise red and blue are exchanged; a mosaic in a grey file is
    a mosaic; a JPEG of 16 bits holds the upper 8. An EXIF orientation is ignored: CameraInfo
    describes the pixels as they lie in the file.

    """
    content = bytes(data)
    name = f'compressed image ({quoted(format)})'
    if not content:
        raise ValueError(f'{name} must have data, got 0 bytes. Check the camera driver.')
    if 'compresseddepth' in format.lower():
        raise ValueError(
            f'compressed image must be a colour or grey picture, got format {quoted(format)}. '
            'Subscribe to the transport compressed, not compressedDepth.'
        )
    encoding, stated, inside = format.partition(';')
    encoding = encoding.strip()
    if not stated or encoding.lower() in _CONTAINERS:
        pixels = decode_image(content, flags=AS_STORED, max_pixels=max_pixels, name=name)
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
    source = _source(encoding, inside, warn)
    layout = ENCODINGS[source]
    is_deep = layout.sample_bytes == 2
    flags = AS_SAMPLED if is_deep or layout.is_bayer else AS_STORED
    pixels = decode_image(content, flags=flags, max_pixels=max_pixels, name=name)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f'{name} must have samples of 8 or 16 bits without sign, got {pixels.dtype}. Measured '
            'values are no picture: choose the topic of the colour or grey image.'
        )
    if is_deep and pixels.dtype == np.uint8:
        pixels = 257 * pixels.astype(np.uint16)  # of 16 bits the upper 8, 255 for white
    if pixels.dtype == np.uint16:
        pixels = to_bytes(pixels, bits if is_deep else 16, warn)
    if pixels.ndim == 2:
        return samples_to_rgb(pixels, source if layout.is_bayer else 'mono8')
    is_rgb = encoding in _COLOURS and 'compressed bgr' not in inside
    return pixels if is_rgb else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)


def _source(encoding: str, inside: str, warn: Callable[[str], None]) -> str:
    """Return the known encoding that was compressed, or raise."""
    source = named_encoding(encoding, warn)
    if source in ENCODINGS and not source.startswith(('yuv', 'uyvy', 'yuyv', 'nv')):
        return source
    # The publisher makes an ordinary picture of these, or leaves the file without its chroma.
    if source in ENCODINGS and inside.split()[-1:] in (['mono8'], ['bgr8']):
        return inside.split()[-1]
    raise ValueError(
        f'compressed image must state an encoding that is known, got {quoted(encoding)} with '
        f'{quoted(inside)}. Set the camera driver to one of {", ".join(ENCODINGS)}.'
    )
