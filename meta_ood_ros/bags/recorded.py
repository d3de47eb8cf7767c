"""What a storage file holds, whatever its format: topics, and messages as they were recorded."""

from __future__ import annotations

from dataclasses import dataclass
import struct

# Representation identifiers of plain CDR, big and little endian; ROS 2 writes no other.
_CDR = (b'\x00\x00', b'\x00\x01')
_HEADER_SIZE = 12
# Names of encodings that MCAP registers, beside cdr; x- begins private ones. Any other is damage.
_FOREIGN = ('ros1', 'protobuf', 'flatbuffer', 'cbor', 'msgpack', 'json')


class DamageError(Exception):
    """Recorded bytes are not what their format asks for."""


@dataclass(frozen=True)
class Topic:
    """
    A topic as the index of a file lists it.

    Parameters
    ----------
    encoding : str
        Of its messages: 'cdr' is what ROS 2 writes.

    """

    name: str
    type_name: str
    encoding: str = 'cdr'

    @property
    def is_foreign(self) -> bool:
        """Return whether its messages are not ROS 2's; DamageError if nobody knows."""
        if self.encoding == 'cdr':
            return False
        if self.encoding in _FOREIGN or self.encoding.startswith('x-'):
            return True
        raise DamageError(f'unknown encoding {self.encoding[:20]!r}')


@dataclass(frozen=True)
class BagMessage:
    """
    One message as it was recorded.

    Parameters
    ----------
    definition : str
        Text of the type as the bag holds it, '' where it holds none (before Iron, .db3).

    """

    topic: str
    type_name: str
    definition: str
    log_time_ns: int
    data: bytes

    @property
    def stamp_ns(self) -> int:
        """Return the stamp of the std_msgs/Header that it begins with; ValueError without one."""
        if self.data[:2] not in _CDR or len(self.data) < _HEADER_SIZE:
            raise ValueError(
                f'{self.topic} must begin with the header of CDR and a stamp, got '
                f'{len(self.data)} bytes that begin with {self.data[:4].hex(" ") or "nothing"}. '
                'The message is damaged, or its type has no header.'
            )
        order = '<' if self.data[1] else '>'
        seconds, nanoseconds = struct.unpack_from(f'{order}iI', self.data, 4)
        return int(seconds) * 1_000_000_000 + int(nanoseconds)
