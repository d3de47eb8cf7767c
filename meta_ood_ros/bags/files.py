"""The storage files of a ROS 2 bag -> recorded bytes, as far as they can be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
import sqlite3
import struct
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO
from zlib import crc32

from meta_ood_ros.bags.folder import find_bag_files

# '' , lz4 or zstd -> function of packed bytes and their unpacked size.
from rosbags.rosbag2.storage_mcap import DECOMPRESSORS

_MAGIC = b'\x89MCAP0\r\n'
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0F
# A bag that was compressed message by message holds these first bytes instead of a CDR header.
_ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'
# What a damaged record raises on its way to a message.
_DAMAGE = (struct.error, IndexError, KeyError, UnicodeDecodeError)


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
        """Return the stamp of the std_msgs/Header that the message begins with, [ns]."""
        order = '<' if self.data[1] & 1 else '>'
        seconds, nanoseconds = struct.unpack_from(f'{order}iI', self.data, 4)
        return int(seconds) * 1_000_000_000 + int(nanoseconds)


class BagReader:
    """
    Reads a bag from its beginning, without the index that a killed recorder does not write.

    Parameters
    ----------
    path : Path
        A .mcap or .db3 file (also .zstd of these), or a folder with such files.

    Attributes
    ----------
    loss : str
        After reading: what could not be read; '' where the bag is whole.

    Raises
    ------
    ValueError
        No bag there, or one recording in two formats.

    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.files, self._amiss = find_bag_files(self.path)
        self.loss = ''

    def __iter__(self) -> Iterator[BagMessage]:
        """Yield every readable message in recorded order; then `loss` is known."""
        losses = [f'{self.path.name} {self._amiss}'] if self._amiss else []
        for file in self.files:
            with ExitStack() as stack:
                if file.suffix == '.zstd':
                    folder = stack.enter_context(TemporaryDirectory())
                    file = _unpack_file(file, Path(folder))
                reader = _McapFile(file) if file.suffix == '.mcap' else _SqliteFile(file)
                yield from reader
            if reader.loss:
                losses.append(f'{file.name} {reader.loss}')
        self.loss = '; '.join(losses)


def _unpack_file(file: Path, folder: Path) -> Path:
    """Return the unpacked copy of a file that was compressed as a whole; empty if damaged."""
    unpacked = folder / file.stem
    try:
        unpacked.write_bytes(_unpack(file.read_bytes(), 'zstd'))
    except KeyError:
        unpacked.touch()
    return unpacked


class _McapFile:
    """Records of an MCAP file, one after the other; see https://mcap.dev/spec."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._schemas: dict[int, tuple[str, str]] = {}
        self._channels: dict[int, tuple[int, str]] = {}
        self._good = 0
        self._damaged = 0
        self.loss = ''

    def __iter__(self) -> Iterator[BagMessage]:
        size = self._path.stat().st_size
        with self._path.open('rb') as file:
            if file.read(8) != _MAGIC:
                self.loss = f'is no MCAP file: all of its {size} bytes are unreadable'
                return
            try:
                yield from self._records(file, size)
            except EOFError:
                lost = size - self._good
                self.loss = f'ends early: its last {lost} of {size} bytes are no whole record'
        if self._damaged:
            damage = f'has {self._damaged} damaged records'
            self.loss = f'{self.loss}, and {damage}' if self.loss else damage

    def _records(self, file: BinaryIO, end: int) -> Iterator[BagMessage]:
        while True:
            self._good = file.tell()
            code = _read(file, 1)[0]
            (size,) = struct.unpack('<Q', _read(file, 8))
            if code == _DATA_END:
                return
            left = end - file.tell()  # a damaged size is asked for neither memory nor a place
            if code == _CHUNK:
                yield from self._chunk(file.read(min(size, left)), whole=size <= left)
            elif size > left:
                raise EOFError
            elif code in (_SCHEMA, _CHANNEL, _MESSAGE):
                yield from self._record(code, _read(file, size))
            else:
                file.seek(size, 1)

    def _chunk(self, content: bytes, *, whole: bool) -> Iterator[BagMessage]:
        try:
            unpacked_size, checksum, name_size = struct.unpack_from('<QII', content, 16)
            compression = content[32 : 32 + name_size].decode()
            records = content[32 + name_size + 8 :]
            if compression and not whole:
                raise EOFError
            plain = _unpack(records, compression, unpacked_size)
            if whole and checksum and crc32(plain) != checksum:
                raise KeyError('checksum')
        except _DAMAGE:
            if not whole:
                raise EOFError from None
            self._damaged += 1
            return
        try:
            yield from self._records_of_chunk(plain)
        except EOFError:
            if not whole:
                raise
            self._damaged += 1  # the next chunk can be read all the same
        if not whole:
            raise EOFError

    def _records_of_chunk(self, plain: bytes) -> Iterator[BagMessage]:
        inner = BytesIO(plain)
        while inner.tell() < len(plain):
            code = _read(inner, 1)[0]
            (size,) = struct.unpack('<Q', _read(inner, 8))
            if size > len(plain) - inner.tell():
                raise EOFError
            yield from self._record(code, _read(inner, size))

    def _record(self, code: int, content: bytes) -> Iterator[BagMessage]:
        try:
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
                channel, _, log_time = struct.unpack_from('<HIQ', content)
                schema, topic = self._channels[channel]
                name, definition = self._schemas[schema]
                data = _plain(content[22:])
                yield BagMessage(topic, name, definition, log_time, data)
        except _DAMAGE:
            self._damaged += 1


class _SqliteFile:
    """Rows of a rosbag2 sqlite3 file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.loss = ''

    def __iter__(self) -> Iterator[BagMessage]:
        read, damaged = 0, 0
        # A log that was never merged holds the last messages of a killed recorder; without one the
        # file is read as it is, so that a folder without write permission will do.
        has_log = self._path.with_name(self._path.name + '-wal').exists()
        uri = f'{self._path.resolve().as_uri()}?{"mode=ro" if has_log else "immutable=1"}'
        try:
            with closing(sqlite3.connect(uri, uri=True)) as database:
                # Lets SQLite read a file that is shorter than its first page says.
                database.execute('PRAGMA writable_schema=ON')
                topics = {
                    number: (name, type_name)
                    for number, name, type_name in database.execute(
                        'SELECT id, name, type FROM topics'
                    )
                }
                definitions = self._definitions(database)
                for topic, time, data in database.execute(
                    'SELECT topic_id, timestamp, data FROM messages ORDER BY id'
                ):
                    try:
                        name, type_name = topics[topic]
                        data = _plain(data)
                    except (*_DAMAGE, TypeError):
                        damaged += 1
                        continue
                    read += 1
                    yield BagMessage(name, type_name, definitions.get(type_name, ''), time, data)
        except sqlite3.DatabaseError as error:
            self.loss = f'ends early: nothing can be read after its first {read} messages'
            self.loss += f' ({error})'
        if damaged:
            self.loss = f'{self.loss + ", and " if self.loss else ""}has {damaged} damaged records'

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


def _plain(data: bytes) -> bytes:
    return _unpack(data, 'zstd') if data[:4] == _ZSTD_MAGIC else data


def _unpack(packed: bytes, compression: str, size: int = 0) -> bytes:
    try:
        return DECOMPRESSORS[compression](packed, size)
    # Each library has exceptions of its own.
    except Exception as error:
        raise KeyError(f'{compression}: {error}') from error
