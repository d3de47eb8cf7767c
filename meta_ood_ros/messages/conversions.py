"""sensor_msgs <-> arrays."""

from __future__ import annotations

from collections.abc import Callable
import sys

from meta_ood_ros.core.image_file import MAX_PIXELS
from meta_ood_ros.messages.compressed import decode_compressed
from meta_ood_ros.messages.encodings import decode_pixels
from meta_ood_ros.messages.sixteen_bits import no_warning
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

#: Encoding -> type and channels of the images that the node publishes.
_LAYOUTS = {
    'mono8': (np.dtype(np.uint8), ()),
    'mono16': (np.dtype(np.uint16), ()),
    '32FC1': (np.dtype(np.float32), ()),
    'rgb8': (np.dtype(np.uint8), (3,)),
}


def to_rgb(
    message: Image | CompressedImage,
    *,
    bits: int = 16,
    max_pixels: int = MAX_PIXELS,
    warn: Callable[[str], None] = no_warning,
) -> np.ndarray:
    """
    Return the pixels of an image message.

    Parameters
    ----------
    bits : int
        How many bits are used where the encoding has 16.
    max_pixels : int
        More are refused.
    warn : callable
        Told what is doubtful about the picture.

    Returns
    -------
    ndarray of shape (H, W, 3), uint8
        RGB. It may be a view of the message: do not write to it.

    Raises
    ------
    ValueError
        Anything that is not a whole image in a supported encoding.

    """
    if isinstance(message, Image):
        return decode_pixels(
            message.data,
            encoding=message.encoding,
            height=message.height,
            width=message.width,
            step=message.step,
            is_bigendian=bool(message.is_bigendian),
            bits=bits,
            max_pixels=max_pixels,
            warn=warn,
        )
    if isinstance(message, CompressedImage):
        return decode_compressed(
            message.data, format=message.format, bits=bits, max_pixels=max_pixels, warn=warn
        )
    raise ValueError(
        f'message must be a sensor_msgs Image or CompressedImage, got {type(message).__name__}. '
        'Check the type of the topic.'
    )


def new_image(header: Header, size: tuple[int, int], encoding: str) -> tuple[Image, np.ndarray]:
    """
    Return an image message of zeros together with its pixels, to be written in place.

    Returns
    -------
    ndarray of shape (H, W) or (H, W, 3)
        uint8, uint16 or float32: a view of the data of the message.

    Notes
    -----
    The data is the array.array('B') that the message was born with: 0.25 ms for 6 MB, where the
    assignment of an ndarray or a list takes 300 ms. Whoever fills the view saves a copy.

    """
    dtype, channels = _LAYOUTS[encoding]
    height, width = size
    step = width * dtype.itemsize * int(np.prod(channels, dtype=int))
    message = Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(sys.byteorder == 'big'),
        step=step,
    )
    # Grown in place: an assignment to message.data copies, unless rosidl's field checks are on.
    data = message.data
    data.append(0)
    data *= height * step
    return message, np.frombuffer(data, dtype).reshape(height, width, *channels)


def to_image(header: Header, pixels: np.ndarray, encoding: str) -> Image:
    """
    Return an image message that holds a copy of the pixels.

    Parameters
    ----------
    pixels : ndarray of shape (H, W) or (H, W, 3)
        Of the type of the encoding.

    """
    dtype, channels = _LAYOUTS[encoding]
    if pixels.dtype != dtype or pixels.shape[2:] != channels or pixels.ndim < 2:
        raise ValueError(
            f'{encoding} needs pixels of shape {("H", "W", *channels)} and type {dtype}, '
            f'got {pixels.shape} {pixels.dtype}. Convert them first.'
        )
    message, view = new_image(header, pixels.shape[:2], encoding)
    np.copyto(view, pixels)
    return message
