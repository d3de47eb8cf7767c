"""A ROS 2 bag (.mcap, .db3) -> its messages in recorded order, as far as they can be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
import sqlite3
import struct
import sys
from typing import Any, BinaryIO

from lz4.frame import decompress as decompress_lz4

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MAGIC = b'\x89MCAP0\r\n'
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0F


@dataclass(frozen=True)
class BagMessage:
    """
    One message as it was recorded.

    Parameters
    ----------
    topic, type_name, definition : str
        Type as in 'sensor_msgs/msg/Image'; definition as in the bag, '' where it holds none.
    data : bytes
        CDR.

    """

    topic: str
    type_name: str
    definition: str
    data: bytes

    @property
    def stamp_ns(self) -> int:
        """Return the stamp of the std_msgs/Header that the message begins with."""
        order = '<' if self.data[1] & 1 else '>'
        seconds, nanoseconds = struct.unpack_from(f'{order}iI', self.data, 4)
        return int(seconds) * 1_000_000_000 + int(nanoseconds)


class BagReader:
    """
    Reads a bag from its beginning, without the index that a killed recorder does not write.

    Parameters
    ----------
    path : Path
        A .mcap or .db3 file, or a folder with such files.

    Attributes
    ----------
    loss : str
        After reading: what could not be read; '' where the bag is whole.

    Raises
    ------
    ValueError
        No bag there.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = _find_files(path)
        self.loss = ''

    def __iter__(self) -> Iterator[BagMessage]:
        """Yield every readable message; then `loss` is known."""
        losses = []
        for file in self.files:
            reader = _McapFile(file) if file.suffix == '.mcap' else _SqliteFile(file)
            yield from reader
            if reader.loss:
                losses.append(reader.loss)
        self.loss = '; '.join(losses)


def _find_files(path: Path) -> list[Path]:
    """Return the storage files of a bag in the order in which they were written."""
    files = [path] if path.is_file() else sorted(path.glob('*.mcap')) + sorted(path.glob('*.db3'))
    if path.is_dir():  # <name>_10 was written after <name>_9
        files.sort(key=lambda one: (len(one.name), one.name))
    if not files or files[0].suffix not in ('.mcap', '.db3'):
        there = ', '.join(sorted(one.name for one in path.iterdir())[:4]) if path.is_dir() else ''
        raise ValueError(
            f'bag must be a .mcap or .db3 file or a folder with such files, got {path} '
            f'({there or "no such file"}). Files compressed as a whole must be unpacked first.'
        )
    return files


class _McapFile:
    """Records of an MCAP file, one after the other; see https://mcap.dev/spec."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loss = ''
        self._schemas: dict[int, tuple[str, str]] = {}
        self._channels: dict[int, tuple[int, str]] = {}

    def __iter__(self) -> Iterator[BagMessage]:
        with self.path.open('rb') as file:
            if file.read(8) != _MAGIC:
                raise ValueError(f'{self.path} must be an MCAP file, got other first bytes.')
            try:
                yield from self._records(file)
            except EOFError:
                lost = self.path.stat().st_size - self._good
                self.loss = (
                    f'{self.path.name} ends early: its last {lost} of '
                    f'{self.path.stat().st_size} bytes are no whole record'
                )

    def _records(self, file: BinaryIO) -> Iterator[BagMessage]:
        while True:
            self._good = file.tell()
            code = _read(file, 1)[0]
            (size,) = struct.unpack('<Q', _read(file, 8))
            if code == _DATA_END:
                return
            if code not in (_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK):
                file.seek(size, 1)
            elif code == _CHUNK:
                yield from self._chunk(file, size)
            else:
                yield from self._record(code, _read(file, size))

    def _chunk(self, file: BinaryIO, size: int) -> Iterator[BagMessage]:
        content = file.read(size)
        (name_size,) = struct.unpack_from('<I', content, 28) if len(content) >= 32 else (0,)
        compression = content[32 : 32 + name_size].decode()
        records = content[32 + name_size + 8 :]
        whole = len(content) == size
        if compression and not whole:
            raise EOFError
        inner = BytesIO(_unpack(records, compression))
        while inner.tell() < len(inner.getbuffer()):
            code = _read(inner, 1)[0]
            (length,) = struct.unpack('<Q', _read(inner, 8))
            yield from self._record(code, _read(inner, length))
        if not whole:
            raise EOFError

    def _record(self, code: int, content: bytes) -> Iterator[BagMessage]:
        if code == _SCHEMA:
            (number,) = struct.unpack_from('<H', content)
            name, place = _string(content, 2)
            _, place = _string(content, place)
            definition, _ = _string(content, place)
            self._schemas[number] = (name, definition)
        elif code == _CHANNEL:
            number, schema = struct.unpack_from('<HH', content)
            self._channels[number] = (schema, _string(content, 4)[0])
        elif code == _MESSAGE:
            (channel,) = struct.unpack_from('<H', content)
            schema, topic = self._channels[channel]
            name, definition = self._schemas[schema]
            yield BagMessage(topic, name, definition, content[22:])


class _SqliteFile:
    """Rows of a rosbag2 sqlite3 file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loss = ''

    def __iter__(self) -> Iterator[BagMessage]:
        read = 0
        uri = f'{self.path.resolve().as_uri()}?immutable=1'
        with closing(sqlite3.connect(uri, uri=True)) as database:
            try:
                topics = {
                    number: (name, type_name)
                    for number, name, type_name in database.execute(
                        'SELECT id, name, type FROM topics'
                    )
                }
                definitions = self._definitions(database)
                rows = database.execute('SELECT topic_id, data FROM messages ORDER BY id')
                for topic, data in rows:
                    name, type_name = topics[topic]
                    read += 1
                    yield BagMessage(name, type_name, definitions.get(type_name, ''), data)
            except sqlite3.DatabaseError as error:
                self.loss = (
                    f'{self.path.name} ends early: nothing can be read after its {read} first '
                    f'messages ({error})'
                )

    def _definitions(self, database: sqlite3.Connection) -> dict[str, str]:
        """Return type definitions; only bags since Iron have them."""
        tables = {name for (name,) in database.execute('SELECT name FROM sqlite_master')}
        if 'message_definitions' not in tables:
            return {}
        return dict(
            database.execute(
                'SELECT topic_type, encoded_message_definition FROM message_definitions'
            )
        )


def _read(file: Any, size: int) -> bytes:
    content: bytes = file.read(size)
    if len(content) < size:
        raise EOFError
    return content


def _string(content: bytes, place: int) -> tuple[str, int]:
    (size,) = struct.unpack_from('<I', content, place)
    return content[place + 4 : place + 4 + size].decode(), place + 4 + size


def _unpack(records: bytes, compression: str) -> bytes:
    if compression == 'zstd':
        return bytes(zstd.decompress(records))
    if compression == 'lz4':
        return bytes(decompress_lz4(records))
    if compression:
        raise ValueError(
            f'chunks of an MCAP file must be stored plain, zstd or lz4, got {compression!r}.'
        )
    return records
