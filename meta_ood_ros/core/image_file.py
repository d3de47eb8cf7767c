"""Bytes of an image file <-> pixels: the one place where a decoder runs on what others wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
from meta_ood_ros.core.error_text import first_line, shown
from meta_ood_ros.core.image_bytes import is_complete, with_longer_scan
from meta_ood_ros.core.image_header import ImageHeader, read_header
import numpy as np

#: An image may have as many pixels as 8K video, 7680 x 4320, rounded up to a power of two.
MAX_PIXELS = 1 << 25
#: A file of a data set may: cameras with sensors of 100 megapixels exist.
MAX_FILE_PIXELS = 1 << 27

#: Colour in the order BGR and 8 bits, as stored; and the same turned as an EXIF tag demands.
AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
UPRIGHT = cv2.IMREAD_COLOR
#: Grey where the file is, 16 bits where it has them.
AS_SAMPLED = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION

# One pixel a block: enough to see whether more data makes another picture.
_COARSE = cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_IGNORE_ORIENTATION
# Encoders of photographs write about ten; each costs a pass over all blocks.
_MOST_SCANS = 100
# What decoders make of blocks without data: grey, of four colours (CMYK) a darker one.
_NO_DATA = (128, 65)


def decode_image(
    content: bytes,
    *,
    flags: int = AS_STORED,
    max_pixels: int = MAX_PIXELS,
    name: str = 'image file',
) -> np.ndarray:
    """
    Return the pixels of an image file, refused by its header before memory is taken for it.

    Parameters
    ----------
    content : bytes
        The whole file; zeros behind its end are ignored.
    flags : int
        Of cv2.imdecode.
    max_pixels : int
        More are refused.
    name : str
        What the error calls it.

    Returns
    -------
    ndarray of shape (H, W) or (H, W, C)
        Colours in the order of OpenCV, BGR.

    Raises
    ------
    ValueError
        Whatever is wrong with it; no other error leaves the decoder.

    """
    try:
        header = read_header(content)
    except ValueError as error:
        raise ValueError(f'{name} {error}') from None
    check_pixels(header.height, header.width, max_pixels, name=name)
    if not is_complete(content, header):
        raise ValueError(
            f'{name} must reach its end marker, got {len(content)} bytes that stop before the '
            f'{header.height} x {header.width} pixels are complete. The image is truncated: check '
            'the network and the driver, or copy the file again.'
        )
    if header.has_many_scans and content.count(b'\xff\xda', header.data_start) > _MOST_SCANS:
        raise ValueError(
            f'{name} must have at most {_MOST_SCANS} scans, got a JPEG with more. Save it again.'
        )
    pixels, reason = _decode(content, flags)
    if pixels is None:
        raise ValueError(
            f'{name} must be a whole {header.kind}, got {len(content)} bytes that cannot be '
            f'decoded{reason}. It is damaged or truncated: copy or send it again.'
        )
    if header.kind == 'JPEG' and _ends_early(content, header, pixels):
        raise ValueError(
            f'{name} must have data for all of its {header.height} x {header.width} pixels, got '
            'a scan that ends before. The image is truncated or its header damaged: check the '
            'network and the driver, or copy the file again.'
        )
    return pixels


def read_image_file(path: Path, *, flags: int, max_pixels: int = MAX_FILE_PIXELS) -> np.ndarray:
    """Return the pixels of a file, whatever bytes its name is made of."""
    return decode_image(path.read_bytes(), flags=flags, max_pixels=max_pixels, name=shown(path))


def write_image_file(path: Path, pixels: np.ndarray, options: Sequence[int] = ()) -> None:
    """Write pixels in the order BGR; an OSError says why that fails, which OpenCV would not."""
    is_good, code = cv2.imencode(path.suffix, pixels, list(options))
    if not is_good:
        raise ValueError(
            f'{shown(path)} must have an ending that OpenCV writes, got {path.suffix}. '
            'Use .png or .jpg.'
        )
    path.write_bytes(code.tobytes())


def check_pixels(height: int, width: int, max_pixels: int, *, name: str = 'image') -> None:
    """
    Refuse an image without pixels or with too many.

    Parameters
    ----------
    height, width : int
        What a header says.
    max_pixels : int
        Their product may reach this.
    name : str
        What the error calls it.

    Raises
    ------
    ValueError
        It names the size.

    """
    if height < 1 or width < 1:
        raise ValueError(
            f'{name} must have at least one pixel, got {height} x {width}. Check the camera '
            'driver.'
        )
    if height * width > max_pixels:
        raise ValueError(
            f'{name} must have at most {max_pixels} pixels, got {height} x {width}. Check the '
            'camera driver; if they are right, raise max_image_pixels of the node or make the '
            'image smaller.'
        )


def _decode(content: bytes, flags: int) -> tuple[np.ndarray | None, str]:
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags), ''
    except (cv2.error, MemoryError) as error:
        return None, f' ({first_line(error)})'


def _ends_early(content: bytes, header: ImageHeader, pixels: np.ndarray) -> bool:
    """
    Return whether the last block was made up, though the file has an end marker.

    Only a corner in the very colour of such blocks costs a second look.
    """
    corners = pixels[(0, 0, -1, -1), (0, -1, 0, -1)].reshape(4, -1).tolist()
    if not any(set(corner) <= {value} for corner in corners for value in _NO_DATA):
        return False
    before, _ = _decode(content, _COARSE)
    after, _ = _decode(with_longer_scan(content, header), _COARSE)
    return before is None or after is None or not np.array_equal(before, after)
