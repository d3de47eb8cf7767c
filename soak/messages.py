"""
Whatever a camera may send, to the decoders, and a share of it to the node.

Raw images with every encoding, right and wrong sizes, steps and byte orders; JPEG, PNG and others,
whole, damaged, or with a header that lies; formats that say more or less than the file.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
import random
import struct
import zlib

import cv2
from meta_ood_ros.core.files.image_file import MAX_PIXELS
from meta_ood_ros.messages.conversions import to_rgb
from meta_ood_ros.messages.encodings import ENCODINGS, UNNAMED
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from soak.bounded import run_trials
from soak.damage import damage

#: One message in so many goes through the node, too.
NODE_SHARE = 20
_LARGEST = 32_000_000
_LARGE_ONE_IN = 250
_LONGEST_SENTENCE = 1200
_ODD_NAMES = (
    '16UC1',
    '32FC1',
    '8SC1',
    '64FC4',
    '',
    ' rgb8',
    'RGB8',
    'rgb888',
    '8UC2',
    'é\n',
    'x' * 3000,
)
_SIZES = (0, 1, 1, 2, 3, 4, 5, 8, 15, 24, 32, 33, 64, 97, 100, 128, 2**31 - 1, 2**32 - 1)
_SUFFIXES = ('.jpg', '.jpg', '.png', '.png', '.webp', '.bmp', '.tiff', '.jp2', '.ppm')
_STATED = (
    'jpeg', 'png', '', 'rgb8; jpeg compressed bgr8', 'bgr8; png compressed bgr8',
    'rgb8; jpeg compressed rgb8', '16UC1; png compressed ', 'mono16; png compressed ',
    'mono8; jpeg compressed ', 'bayer_rggb8; png compressed ', 'bayer_gbrg16; png compressed ',
    'rgba8; png compressed bgra8', 'yuv422; jpeg compressed bgr8', 'nv12; png compressed ',
    'mono8; compressedDepth png', ';', ';;;', 'rgb8;', 'tiff; x', 'x' * 2000,
)  # fmt: skip


def run(count: int, seed: int) -> list[tuple[str, str]]:
    """Decode so many messages and send a share of them to a node."""
    return [
        *run_trials('soak.messages', 'fuzzed messages, decoders', count, seed),
        *run_trials('soak.node_messages', 'of these, the node', max(1, count // NODE_SHARE), seed),
    ]


def make_trial() -> Callable[[int, int], str]:
    """Return what decodes the message of a number."""
    return _decode


def _decode(number: int, seed: int) -> str:
    message = draw_message(random.Random(f'{seed} {number}'))
    said: list[str] = []
    try:
        pixels = to_rgb(message, warn=said.append)
    except ValueError as error:
        if len(str(error)) > _LONGEST_SENTENCE or '\n' in str(error):
            raise AssertionError(f'no sentence: {str(error)[:80]!r}') from error
        return 'refused'
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise AssertionError(f'decoded to {pixels.dtype} {pixels.shape}')
    if not 0 < pixels.shape[0] * pixels.shape[1] <= MAX_PIXELS:
        raise AssertionError(f'decoded to {pixels.shape}')
    if isinstance(message, Image) and pixels.shape[:2] != (message.height, message.width):
        raise AssertionError(f'{message.height} x {message.width} decoded to {pixels.shape}')
    return 'decoded'


def draw_message(rng: random.Random) -> Image | CompressedImage:
    """Return a message that may be sound or have anything wrong with it."""
    is_large = rng.randrange(_LARGE_ONE_IN) == 0
    return _draw_raw(rng, is_large) if rng.random() < 0.5 else _draw_compressed(rng, is_large)


def _draw_raw(rng: random.Random, is_large: bool) -> Image:
    names = _ODD_NAMES if rng.random() < 0.15 else (*ENCODINGS, *UNNAMED)
    name = rng.choice(names)
    layout = ENCODINGS.get(UNNAMED.get(name, name), ENCODINGS['rgb8'])
    height, width = rng.choice(_SIZES), rng.choice(_SIZES)
    pixel_bytes = layout.channels * layout.sample_bytes
    if is_large:
        width = rng.choice((1, 64, 1920, 5000, _LARGEST // pixel_bytes))
        height = 2 * _LARGEST // (width * pixel_bytes * layout.half_rows)
    elif rng.random() < 0.6:  # nothing but small even sizes is right for all
        height, width = 2 * rng.randrange(1, 50), 2 * rng.randrange(1, 50)
    step = width * pixel_bytes + (rng.choice((1, 2, 4, 60)) if rng.random() < 0.2 else 0)
    size = min(step * height * layout.half_rows // 2, _LARGEST)
    trouble = rng.random()
    if trouble < 0.1:
        size = max(0, size - rng.choice((1, 2, step, size)))
    elif trouble < 0.15:
        size += rng.choice((1, 2, 64))
    elif trouble < 0.25:
        step = rng.choice((0, 1, max(0, step - 1), 2**32 - 1))
    data = array('B')
    data.frombytes((rng.randbytes(min(size, 4096)) * (size // 4096 + 1))[:size])
    message = Image(encoding=name, is_bigendian=rng.choice((0, 0, 1, 255)))
    message.height, message.width = height, width
    message.step, message.data = min(step, 2**32 - 1), data
    return message


def _draw_compressed(rng: random.Random, is_large: bool) -> CompressedImage:
    sides = (5000, 6600) if is_large else (rng.randrange(1, 100), rng.randrange(1, 130))
    suffix = rng.choice(_SUFFIXES[:6] if is_large else _SUFFIXES)
    content = bytearray(_encode(rng, sides, suffix))
    if rng.random() < 0.3:
        _lie_about_size(content, rng)
    if rng.random() < 0.5:
        for _ in range(rng.choice((1, 1, 2, 8))):
            damage(content, rng)
    if rng.random() < 0.1:
        content += bytes(rng.choice((1, 1000, 100_000)))
    elif rng.random() < 0.02:
        content = bytearray(rng.randbytes(rng.choice((0, 1, 30, 1000))))
    data = array('B')
    data.frombytes(bytes(content[:_LARGEST]))
    message = CompressedImage(format=rng.choice(_STATED))
    message.data = data
    return message


def _encode(rng: random.Random, sides: tuple[int, int], suffix: str) -> bytes:
    """Return a file of noise or of one colour, in one of the kinds that its format has."""
    channels = (
        rng.choice((1, 3, 4)) if suffix in ('.png', '.tiff', '.webp') else rng.choice((1, 3))
    )
    if suffix == '.webp':
        channels = max(channels, 3)
    is_deep = suffix in ('.png', '.tiff') and rng.random() < 0.3
    noise = np.random.default_rng(rng.randrange(2**32))
    shape = (*sides, channels) if channels > 1 else sides
    highest = 65536 if is_deep else 256
    kind = np.uint16 if is_deep else np.uint8
    if rng.random() < 0.5 and sides[0] < 1000:
        image = noise.integers(0, highest, shape).astype(kind)
    else:
        image = np.full(shape, noise.integers(0, highest), kind)
    options = []
    if suffix == '.jpg':
        options = [cv2.IMWRITE_JPEG_PROGRESSIVE, rng.randrange(2), cv2.IMWRITE_JPEG_QUALITY, 80]
    if (suffix == '.jp2' and min(sides) < 64) or (suffix == '.ppm' and channels == 1):
        suffix = '.png'  # not what these hold
    return cv2.imencode(suffix, image, options)[1].tobytes()


def _lie_about_size(content: bytearray, rng: random.Random) -> None:
    """Let the header of a JPEG or PNG state another size, with the sum that belongs to it."""
    height, width = (rng.choice((0, 1, 100, 4000, 33_488, 65_535)) for _ in range(2))
    if content[:4] == b'\x89PNG':
        scale = rng.choice((1, 1, 2**14))
        content[16:24] = struct.pack('>II', height * scale, width * scale)
        content[29:33] = struct.pack('>I', zlib.crc32(content[12:29]))
        return
    for marker in (b'\xff\xc0', b'\xff\xc2'):
        at = content.find(marker)
        if at > 0:
            content[at + 5 : at + 9] = struct.pack('>HH', height, width)
            return
