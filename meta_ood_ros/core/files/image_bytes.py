"""Bytes of an image file -> whether they are all there, which decoders do not always say."""

from __future__ import annotations

import re

from meta_ood_ros.core.files.image_header import ImageHeader, jpeg_segments

_JPEG_END = b'\xff\xd9'
_PNG_END = b'\0\0\0\0IEND\xaeB`\x82'
_RESTART = 0xDD
_END_OF_SCAN = re.compile(rb'\xff[^\x00\xff\xd0-\xd7]')
_RESTARTS = re.compile(rb'\xff[\xd0-\xd7]')
# No marker in it, and bits that no Huffman table takes for zeros alone.
_MORE_DATA = bytes(range(1, 250, 3)) * 8


def is_complete(content: bytes, header: ImageHeader) -> bool:
    """
    Return whether an image file reaches its end marker.

    Parameters
    ----------
    content : bytes
        The whole file; what follows the end marker, as in a buffer of fixed size, is ignored.
    header : ImageHeader
        Of this file.

    Returns
    -------
    bool
        False for a JPEG or PNG that stops before it, or of which a header as large as this one
        would need more. True where the format is another: its decoder says so itself.

    Notes
    -----
    Markers are looked for behind the start of the scan, because a thumbnail inside EXIF has an
    end marker of its own; within a scan the byte 0xff is never followed by 0xd9 (ITU T.81,
    B.1.1.5). Each block of 8 x 8 pixels takes one bit of it at least.

    """
    if header.kind == 'JPEG':
        blocks = -(-header.height // 8) * -(-header.width // 8)
        is_enough = 8 * (len(content) - header.data_start) >= blocks
        return is_enough and content.rfind(_JPEG_END, header.data_start) >= 0
    if header.kind == 'PNG':
        return content.rfind(_PNG_END) >= 0 and _chunks_reach_the_end(content)
    return True


def _chunks_reach_the_end(content: bytes) -> bool:
    """Return whether each chunk of a PNG ends before the file: decoders take memory as it says."""
    at = 8
    while at + 12 <= len(content):
        if content.startswith(_PNG_END, at):
            return True
        at += 12 + int.from_bytes(content[at : at + 4], 'big')
    return False


def with_longer_scan(content: bytes, header: ImageHeader) -> bytes:
    """
    Return a JPEG with more data at the end of its first scan.

    Parameters
    ----------
    content : bytes
        A JPEG that is complete.
    header : ImageHeader
        Of this file.

    Returns
    -------
    bytes
        It decodes to the same pixels exactly where the scan held as many blocks as the header
        says: decoders skip what is left over, and make grey of what is lacking.

    """
    found = _END_OF_SCAN.search(content, header.data_start)
    end = found.start() if found else len(content)
    more = _MORE_DATA
    intervals = [content[at:stop] for mark, at, stop in jpeg_segments(content) if mark == _RESTART]
    if intervals and any(intervals[-1]):
        # Data goes on behind the next of the numbered markers, which count the intervals.
        count = len(_RESTARTS.findall(content, header.data_start, end))
        more = bytes((0xFF, 0xD0 + count % 8)) + more
    return content[:end] + more + content[end:]
