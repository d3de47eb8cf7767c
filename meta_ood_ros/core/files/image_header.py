"""First bytes of an image file -> its format and size, before a decoder takes memory for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
import re
import struct

#: Marker, then the content of a segment: start of frame, start of scan.
_FRAMES = {0xC0, 0xC1, 0xC2}
_OTHER_FRAMES = set(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN = 0xDA
_WITHOUT_CONTENT = {0x01, *range(0xD0, 0xD9)}
_MARKER = re.compile(rb'\xff[^\x00\xff]')
# A photograph has some hundred at most; each costs a step here.
_MOST_SEGMENTS = 4096

_PNM_SIZE = re.compile(
    rb'P[1-6](?:\s|#[^\r\n]*[\r\n])*(\d{1,10})(?:\s|#[^\r\n]*[\r\n])+(\d{1,10})'
)
_TIFF_TYPES = {1: 'B', 3: 'H', 4: 'I', 16: 'Q'}
_TIFF_WIDTHS, _TIFF_HEIGHTS, _TIFF_BITS = (256, 322), (257, 323), 258
_TIFF_COMPRESSION = 259

#: What OpenCV may read as well, but whose size is not known here.
_REFUSED = {
    'JPEG 2000': re.compile(rb'\0\0\0\x0cjP  |\xff\x4f\xff\x51'),
    'AVIF or HEIF': re.compile(rb'.{4}ftyp', re.DOTALL),
    'JPEG XL': re.compile(rb'\xff\x0a|\0\0\0\x0cJXL '),
    'OpenEXR': re.compile(rb'\x76\x2f\x31\x01'),
    'Radiance HDR': re.compile(rb'#\?R'),
    'Sun raster': re.compile(rb'\x59\xa6\x6a\x95'),
    'PAM or PFM': re.compile(rb'P7\s|P[Ff]\s'),
}


@dataclass(frozen=True)
class ImageHeader:
    """
    What an image file says about itself.

    Parameters
    ----------
    kind : str
        As in 'JPEG'.
    height, width : int
        Of the pixels as they are stored, before any orientation tag.
    data_start : int
        Where the first scan of a JPEG begins; 0 for others.
    has_many_scans : bool
        Whether a JPEG comes in several, of which each is a pass over all blocks.

    """

    kind: str
    height: int
    width: int
    data_start: int = 0
    has_many_scans: bool = False


def read_header(content: bytes) -> ImageHeader:
    """
    Return what an image file says about itself.

    Parameters
    ----------
    content : bytes
        The whole file.

    Returns
    -------
    ImageHeader

    Raises
    ------
    ValueError
        Another format, or a header that stops too early; the sentence begins with 'must'.

    """
    for start, kind, read in _READERS:
        if start.match(content):
            try:
                found = read(content)
            except (struct.error, OverflowError, IndexError):
                found = None
            if found is None:
                raise ValueError(
                    f'must reach its end marker, got {len(content)} bytes of a {kind} that stop '
                    'before its size. The image is truncated: check the network and the driver, '
                    'or copy the file again.'
                )
            height, width, *rest = found
            data_start, many = rest or (0, 0)
            return ImageHeader(kind, height, width, data_start, bool(many))
    for kind, start in _REFUSED.items():
        if start.match(content):
            raise ValueError(
                f'must be JPEG, PNG, WebP, BMP, TIFF, GIF or PNM, got {kind}, whose size is not '
                'known before it is decoded. Convert it to one of these.'
            )
    raise ValueError(
        f'must be JPEG, PNG, WebP, BMP, TIFF, GIF or PNM, got {len(content)} bytes of something '
        'else. Check the camera driver, or the file.'
    )


def jpeg_segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of the content of each segment up to the first scan's header."""
    position = 2
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(content, position)
        if found is None:
            return
        marker, position = content[found.end() - 1], found.end()
        if marker in _WITHOUT_CONTENT:
            continue
        (length,) = struct.unpack_from('>H', content, position)
        yield marker, position + 2, position + length
        position += max(2, length)
        if marker == _SCAN:
            return


def _jpeg(content: bytes) -> tuple[int, ...] | None:
    size: tuple[int, ...] = ()
    components = 0
    for marker, start, end in jpeg_segments(content):
        if marker in _OTHER_FRAMES:
            raise ValueError(
                'must be a baseline or progressive JPEG, got one that is lossless, hierarchical '
                'or arithmetic. Save it as an ordinary JPEG.'
            )
        if marker in _FRAMES and not size:
            height, width, components = struct.unpack_from('>HHB', content, start + 1)
            size = (height, width)
            components += marker == 0xC2  # progressive: never all in one
        if marker == _SCAN:
            return (*size, end, content[start] < components) if size else None
    return None


def _png(content: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from('>II', content, 16)
    return height, width


def _gif(content: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from('<HH', content, 6)
    return height, width


def _bmp(content: bytes) -> tuple[int, int]:
    (length,) = struct.unpack_from('<I', content, 14)
    width, height = struct.unpack_from('<HH' if length == 12 else '<ii', content, 18)
    return abs(height), abs(width)


def _webp(content: bytes) -> tuple[int, int] | None:
    kind = content[12:16]
    if kind == b'VP8X':
        width, height = (1 + int.from_bytes(content[at : at + 3], 'little') for at in (24, 27))
        return (height, width) if len(content) >= 30 else None
    if kind == b'VP8L':
        (bits,) = struct.unpack_from('<I', content, 21)
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    width, height = struct.unpack_from('<HH', content, 26)
    return (height & 0x3FFF, width & 0x3FFF) if kind == b'VP8 ' else None


def _pnm(content: bytes) -> tuple[int, int] | None:
    found = _PNM_SIZE.match(content[: 1 << 16])
    return found and (int(found[2]), int(found[1]))


def _tiff(content: bytes) -> tuple[int, int] | None:
    """Return the larger of image and tile: a decoder makes room for both."""
    order = '<' if content[0] == 0x49 else '>'
    is_big = 43 in content[2:4]
    (at,) = struct.unpack_from(order + ('Q' if is_big else 'I'), content, 8 if is_big else 4)
    (count,) = struct.unpack_from(order + ('Q' if is_big else 'H'), content, at)
    entry = struct.Struct(order + ('HHQ' if is_big else 'HHI'))
    first, step = (at + 8, 20) if is_big else (at + 2, 12)
    widths, heights, bits = [0], [0], [1]
    for place in range(first, first + step * min(count, _MOST_SEGMENTS), step):
        tag, kind, number = entry.unpack_from(content, place)
        if tag not in (*_TIFF_WIDTHS, *_TIFF_HEIGHTS, _TIFF_BITS):
            continue
        if kind not in _TIFF_TYPES:
            return None
        values = struct.Struct(f'{order}{min(number, 4)}{_TIFF_TYPES[kind]}')
        where = place + entry.size
        if number * struct.calcsize(_TIFF_TYPES[kind]) > (8 if is_big else 4):
            (where,) = struct.unpack_from(order + ('Q' if is_big else 'I'), content, where)
        into = bits if tag == _TIFF_BITS else widths if tag in _TIFF_WIDTHS else heights
        into.extend(values.unpack_from(content, where))
    if max(bits) > 16:
        raise ValueError(
            f'must have samples of 8 or 16 bits, got a TIFF of {max(bits)}. Measured values are '
            'no picture: choose the topic of the colour or grey image.'
        )
    return (max(heights), max(widths)) if len(widths) > 1 < len(heights) else None


def tiff_compression(content: bytes) -> int:
    """Return the number of a TIFF's compression, 1 (none) where nothing says it."""
    if re.match(rb'II\*\0|MM\0\*', content) is None:
        return 1
    order = '<' if content[0] == 0x49 else '>'
    try:
        (at,) = struct.unpack_from(order + 'I', content, 4)
        (count,) = struct.unpack_from(order + 'H', content, at)
        for place in range(at + 2, at + 2 + 12 * min(count, _MOST_SEGMENTS), 12):
            tag, kind = struct.unpack_from(order + 'HH', content, place)
            if tag == _TIFF_COMPRESSION:
                value = struct.unpack_from(order + _TIFF_TYPES.get(kind, 'H'), content, place + 8)
                return int(value[0])
    except struct.error:
        pass  # a decoder will say that it is damaged
    return 1


_READERS: tuple[tuple[re.Pattern[bytes], str, Callable[[bytes], tuple[int, ...] | None]], ...] = (
    (re.compile(rb'\xff\xd8\xff'), 'JPEG', _jpeg),
    (re.compile(rb'\x89PNG\r\n\x1a\n'), 'PNG', _png),
    (re.compile(rb'RIFF.{4}WEBP', re.DOTALL), 'WebP', _webp),
    (re.compile(rb'BM'), 'BMP', _bmp),
    (re.compile(rb'II[*+]\0|MM\0[*+]'), 'TIFF', _tiff),
    (re.compile(rb'GIF8'), 'GIF', _gif),
    (re.compile(rb'P[1-6][\s#]'), 'PNM', _pnm),
)
