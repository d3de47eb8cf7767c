"""Label file -> the values that it states, whatever way a tool has stored them."""

from pathlib import Path
import zlib

import cv2
from meta_ood_ros.core.error_text import shown
from meta_ood_ros.core.files.image_file import decode_image, MAX_FILE_PIXELS, read_image_file
from meta_ood_ros.core.files.image_header import tiff_compression
import numpy as np

#: Old and new JPEG, JPEG of raw cameras, WebP, JPEG 2000, JPEG XL.
_LOSSY_TIFF = {6, 7, 34892, 50001, 34712, 33003, 33005, 50002}
_PNG_START = b'\x89PNG\r\n\x1a\n'
_GREY, _PALETTE = 0, 3  # PNG's colour types without and with a table


def read_label(path: Path) -> np.ndarray:
    """
    Return a label file's values as the file states them.

    Returns
    -------
    ndarray of shape (H, W), uint8
        Of a palette its indices, of 1, 2 or 4 bits the numbers themselves (0 and 1 of one bit);
        of three equal channels one. Whatever may differ from what was drawn is refused: JPEG,
        colours, transparent pixels.

    """
    content = path.read_bytes()
    refuse_lossy(path, content)
    label = read_image_file(path, flags=cv2.IMREAD_UNCHANGED)
    bits, colour_type = _png_kind(content)
    if colour_type == _PALETTE:
        return _to_indices(content, bits, path)
    label = _to_one_channel(label, path)
    if colour_type == _GREY and bits < 8:
        # OpenCV stretches them: 1 of one bit becomes 255, 1 of two bits 85.
        label = label // (255 // (2**bits - 1))
    if label.dtype == np.uint16 and not label.max(initial=0) > 255:
        label = label.astype(np.uint8)
    if label.dtype != np.uint8:
        raise ValueError(
            f'{path} must be a label image with one 8-bit channel, got {label.shape} '
            f'{label.dtype} up to {label.max(initial=0)}. Save class ids below 256.'
        )
    return label


def refuse_lossy(path: Path, content: bytes) -> None:
    """Refuse a format that changes values."""
    kind = 'JPEG' if content.startswith(b'\xff\xd8') else ''
    if content.startswith(b'RIFF') and content[8:12] == b'WEBP' and _is_lossy_webp(content):
        kind = 'lossy WebP'
    if tiff_compression(content) in _LOSSY_TIFF:
        kind = 'a TIFF that holds JPEG'
    if kind:
        raise ValueError(
            f'{path} must be a lossless label image, got {kind}, which invents values where two '
            'classes meet. Export the labels again as PNG; a converted copy has the same faults.'
        )


def _is_lossy_webp(content: bytes) -> bool:
    """Return whether the first chunk with a picture is of the lossy kind."""
    position = 12
    while position + 8 <= len(content):
        chunk = content[position : position + 4]
        if chunk in (b'VP8 ', b'VP8L'):
            return chunk == b'VP8 '
        if chunk == b'ANMF':  # a picture of several, behind its place and time
            position += 24
            continue
        length = int.from_bytes(content[position + 4 : position + 8], 'little')
        position += 8 + length + length % 2
    return False


def _png_kind(content: bytes) -> tuple[int, int]:
    """Return bits per channel and colour type of a PNG, (8, -1) of another file."""
    if not content.startswith(_PNG_START) or len(content) < 26:
        return 8, -1
    return content[24], content[25]


def _to_indices(content: bytes, bits: int, path: Path) -> np.ndarray:
    """Return the indices of a palette image: read with a palette in which each is its own grey."""
    plain = _with_grey_palette(content, bits)
    if plain is None:
        raise ValueError(
            f'{path} must be a readable label image, got a PNG whose chunks do not fit together. '
            'Copy the file again.'
        )
    indices = decode_image(
        plain, flags=cv2.IMREAD_UNCHANGED, max_pixels=MAX_FILE_PIXELS, name=shown(path)
    )
    return _to_one_channel(indices, path)


def _with_grey_palette(content: bytes, bits: int) -> bytes | None:
    grey = bytes(value for value in range(2**bits) for _ in range(3))
    kept, position = [content[: len(_PNG_START)]], len(_PNG_START)
    while position + 12 <= len(content):
        length = int.from_bytes(content[position : position + 4], 'big')
        kind, end = content[position + 4 : position + 8], position + 12 + length
        if kind == b'PLTE':
            check = zlib.crc32(kind + grey).to_bytes(4, 'big')
            kept.append(len(grey).to_bytes(4, 'big') + kind + grey + check)
        elif kind != b'tRNS':  # what is transparent has an index all the same
            kept.append(content[position:end])
        position = end
        if kind == b'IEND':
            return b''.join(kept)
    return None


def _to_one_channel(label: np.ndarray, path: Path) -> np.ndarray:
    if label.ndim == 2:
        return label
    opaque = 255 if label.dtype == np.uint8 else 65535
    if label.shape[2] == 4:
        if (label[..., 3] != opaque).any():
            raise ValueError(
                f'{path} must be a label image without transparent pixels, got some: what they '
                'hold is not to be seen. Save the class ids in one opaque channel.'
            )
        label = label[..., :3]
    if (label != label[..., :1]).any():
        raise ValueError(
            f'{path} must be a label image with one 8-bit channel, got {label.shape} '
            f'{label.dtype}. A coloured picture is not a label: save the class ids.'
        )
    return np.ascontiguousarray(label[..., 0])
