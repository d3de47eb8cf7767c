"""Packed bytes -> plain ones, within bounds that no file can move."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
import sys
from typing import Any, BinaryIO

import lz4.frame
from meta_ood_ros.bags.recorded import DamageError

# The library with which rosbags reads zstd, too.
if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: No chunk and no message may be larger, in bytes; recorders write chunks of one to four million.
LIMIT = 2**28
# A file packed as a whole may be so much larger than it is on the disk, beyond the limit above.
_RATIO = 100
_STEP = 2**20
# A bag that was compressed message by message holds these first bytes instead of a CDR header.
_ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'
_OPEN = {'lz4': lz4.frame.open, 'zstd': zstd.open}


def unpack(packed: bytes, compression: str, claimed: int = 0) -> bytes:
    """
    Return what is packed, '', 'lz4' or 'zstd'.

    Parameters
    ----------
    claimed : int
        Size as the file has it. One beyond the limit is looked into before memory is spent on it.

    Raises
    ------
    DamageError
        It cannot be unpacked, or is larger than LIMIT.

    """
    if not compression:
        return packed
    if claimed > LIMIT:
        for _ in _pieces(BytesIO(packed), compression, LIMIT):
            pass
    return b''.join(_pieces(BytesIO(packed), compression, LIMIT))


def plain_message(data: bytes) -> bytes:
    """Return the bytes of one message, unpacked if the recorder packed each for itself."""
    return unpack(data, 'zstd') if data[:4] == _ZSTD_MAGIC else data


def unpack_file(source: Path, target: Path) -> str:
    """Write what a zstd file holds, as far as it can be unpacked; return what is amiss, or ''."""
    limit = LIMIT + _RATIO * source.stat().st_size
    with source.open('rb') as packed, target.open('wb') as plain:
        try:
            for piece in _pieces(packed, 'zstd', limit):
                plain.write(piece)
        except DamageError as error:
            return f'is not whole: {error} after {plain.tell()} unpacked bytes'
        except OSError as error:
            return (
                f'was read to its byte {packed.tell()} only, no room to unpack more '
                f'({error.strerror}); unpack it with zstd -d where there is'
            )
    return ''


def _pieces(packed: BinaryIO, compression: str, limit: int) -> Iterator[bytes]:
    if compression not in _OPEN:
        raise DamageError(f'unknown compression {compression[:20]!r}')
    with closing(_OPEN[compression](packed)) as stream:
        size = 0
        while piece := _read_piece(stream):
            size += len(piece)
            if size > limit:
                raise DamageError(f'unpacks to more than {limit} bytes')
            yield piece


def _read_piece(stream: Any) -> bytes:
    try:
        piece: bytes = stream.read(_STEP)
    # RuntimeError is what lz4 has for bytes that are none of its own.
    except (zstd.ZstdError, RuntimeError, EOFError) as error:
        raise DamageError(f'cannot be unpacked ({error})') from error
    return piece
