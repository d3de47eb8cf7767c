"""An .mcap file -> recorded messages, one record after the other; see https://mcap.dev/spec."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
import struct
from typing import BinaryIO
from zlib import crc32

from meta_ood_ros.bags.recorded import BagMessage, DamageError, Topic
from meta_ood_ros.bags.unpacking import LIMIT, plain_message, unpack

MAGIC = b'\x89MCAP0\r\n'
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
_STATISTICS, _DATA_END = 0x0B, 0x0F
_NO_RECORD = 0x00  # never written: a file system has zeros where nothing arrived
# code, size and content of a footer, and the magic behind it
_TAIL = struct.Struct('<BQQQI8s')
# start, end, plain size, checksum, size of the name of the compression
_CHUNK_HEAD = struct.Struct('<QQQII')
_STEP = 2**20


@dataclass(frozen=True)
class _Channel:
    schema: int
    topic: str
    encoding: str


class McapFile:
    """
    An MCAP file.

    Attributes
    ----------
    loss : str
        After reading: what could not be read; '' for a whole file.
    foreign : dict of str to Topic
        Topics that were met whose messages are not ROS 2's; these are not delivered.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._profile = ''
        self._schemas: dict[int, tuple[str, str]] = {}
        self._channels: dict[int, _Channel] = {}
        self._good = 0
        self._damage: Counter[str] = Counter()
        self.loss = ''
        self.foreign: dict[str, Topic] = {}

    def read_index(self) -> Counter[Topic] | None:
        """Return the number of messages of each topic as the summary has it; None without one."""
        try:
            with self._path.open('rb') as file:
                self._read_profile(file)
                end = file.seek(0, 2) - _TAIL.size
                if end < len(MAGIC):
                    return None
                file.seek(end)
                code, _, begin, _, _, magic = _TAIL.unpack(_read(file, _TAIL.size))
                if code != _FOOTER or magic != MAGIC or not len(MAGIC) <= begin < end:
                    return None
                file.seek(begin)
                return self._read_summary(file, end)
        except (OSError, EOFError, DamageError, struct.error, UnicodeDecodeError):
            return None

    def _read_profile(self, file: BinaryIO) -> None:
        content = file.read(len(MAGIC) + 9 + 4 + 64)
        if content[len(MAGIC) : len(MAGIC) + 1] == bytes([_HEADER]):
            self._profile = _string(content, len(MAGIC) + 9)[0]

    def _read_summary(self, file: BinaryIO, end: int) -> Counter[Topic] | None:
        counts: dict[int, int] | None = None
        while file.tell() < end:
            code, size = struct.unpack('<BQ', _read(file, 9))
            if size > end - file.tell():
                return None
            if code == _STATISTICS:
                content = _read(file, size)
                (length,) = struct.unpack_from('<I', content, 42)
                pairs = content[46 : 46 + length]
                counts = dict(struct.iter_unpack('<HQ', pairs))
            elif code in (_SCHEMA, _CHANNEL):
                self._declare(code, _read(file, size))
            else:
                file.seek(size, 1)
        if counts is None or not counts.keys() <= self._channels.keys():
            return None
        found: Counter[Topic] = Counter()
        for number in self._channels:
            found[self._topic(number)] += counts.get(number, 0)
        return found

    def __iter__(self) -> Iterator[BagMessage]:
        """Yield every message that can be read; then `loss` is known."""
        self._damage.clear()
        self.loss = ''
        self.read_index()  # it repeats the types, which may be damaged where they stand first
        try:
            size = self._path.stat().st_size
            with self._path.open('rb') as file:
                if file.read(len(MAGIC)) != MAGIC:
                    self.loss = f'is no MCAP file: all of its {size} bytes are unreadable'
                    return
                yield from self._records(file, size)
        except EOFError:
            lost = size - self._good
            self.loss = f'ends early: its last {lost} of {size} bytes are no whole record'
        except OSError as error:
            self.loss = f'cannot be read beyond its byte {self._good} ({error.strerror})'
        if self._damage:
            damage = f'has {self._damage.total()} damaged records'
            causes = ', '.join(cause for cause in self._damage if cause)
            damage += f' ({causes})' if causes else ''
            self.loss = f'{self.loss}, and {damage}' if self.loss else damage

    def _records(self, file: BinaryIO, end: int) -> Iterator[BagMessage]:
        while True:
            self._good = file.tell()
            code = _read(file, 1)[0]
            (size,) = struct.unpack('<Q', _read(file, 8))
            if code == _DATA_END:
                return
            if code == _NO_RECORD:
                raise EOFError
            begin = file.tell()
            left = end - begin  # a damaged size is asked for neither memory nor a place
            if code == _CHUNK:
                yield from self._chunk(file, min(size, left), whole=size <= left)
                if size > left:
                    raise EOFError
                file.seek(begin + size)
            elif size > left:
                raise EOFError
            else:
                yield from self._record(code, file, size)

    def _chunk(self, file: BinaryIO, size: int, *, whole: bool) -> Iterator[BagMessage]:
        try:
            plain, plain_size = self._open_chunk(file, size, whole=whole)
        except (DamageError, struct.error, UnicodeDecodeError) as error:
            if whole:
                self._note(error)
            return
        try:
            yield from self._records_of_chunk(plain, plain_size)
        except EOFError:
            if whole:
                self._damage[''] += 1  # the next chunk can be read all the same

    def _open_chunk(self, file: BinaryIO, size: int, *, whole: bool) -> tuple[BinaryIO, int]:
        """Return the plain records of a chunk, and how many bytes they have."""
        begin = file.tell()
        # Where a chunk is too short for its own head, struct says so.
        head = file.read(min(size, _CHUNK_HEAD.size))
        _, _, claimed, checksum, name_size = _CHUNK_HEAD.unpack(head)
        if name_size > min(size, 64):
            raise DamageError
        compression = _read(file, name_size).decode()
        (packed_size,) = struct.unpack('<Q', file.read(8))
        size -= file.tell() - begin
        if not compression:
            # Read where it lies: the file itself bounds it.
            if whole and checksum and _checksum(file, size) != checksum:
                raise DamageError
            return file, size
        if not whole:
            raise DamageError  # nothing says how much of it could be unpacked
        if size > LIMIT:
            raise DamageError(f'a chunk has more than {LIMIT} bytes')
        plain = unpack(_read(file, size), compression, claimed)
        if checksum and crc32(plain) != checksum:
            raise DamageError
        if packed_size != size or claimed != len(plain):
            self._damage[f'a chunk of {len(plain)} bytes claims {claimed}'] += 1
        return BytesIO(plain), len(plain)

    def _records_of_chunk(self, plain: BinaryIO, size: int) -> Iterator[BagMessage]:
        end = plain.tell() + size
        while plain.tell() < end:
            code, size = struct.unpack('<BQ', _read(plain, 9))
            if size > end - plain.tell() or code == _NO_RECORD:
                raise EOFError
            yield from self._record(code, plain, size)

    def _record(self, code: int, file: BinaryIO, size: int) -> Iterator[BagMessage]:
        """Read one record; what follows it can be read although it is damaged."""
        if code not in (_HEADER, _SCHEMA, _CHANNEL, _MESSAGE):
            file.seek(size, 1)
            return
        if size > LIMIT:
            self._damage[f'a record has more than {LIMIT} bytes'] += 1
            file.seek(size, 1)
            return
        content = _read(file, size)
        message = None
        try:
            if code == _HEADER:
                self._profile = _string(content, 0)[0]
            elif code == _MESSAGE:
                message = self._message(content)
            else:
                self._declare(code, content)
        except (DamageError, struct.error, UnicodeDecodeError) as error:
            self._note(error)
        if message is not None:
            yield message

    def _declare(self, code: int, content: bytes) -> None:
        if code == _SCHEMA:
            (number,) = struct.unpack_from('<H', content)
            name, place = _string(content, 2)
            encoding, place = _string(content, place)
            # Other languages may be binary.
            is_text = encoding in ('ros2msg', 'ros2idl', '')
            self._schemas[number] = (name, _string(content, place)[0] if is_text else '')
        else:
            number, schema = struct.unpack_from('<HH', content)
            topic, place = _string(content, 4)
            self._channels[number] = _Channel(schema, topic, _string(content, place)[0])

    def _message(self, content: bytes) -> BagMessage | None:
        number, _, log_time, _ = struct.unpack_from('<HIQQ', content)
        topic = self._topic(number)
        if topic.is_foreign:
            self.foreign[topic.name] = topic
            return None
        name, definition = self._schemas[self._channels[number].schema]
        return BagMessage(topic.name, name, definition, log_time, plain_message(content[22:]))

    def _topic(self, channel: int) -> Topic:
        if channel not in self._channels:
            raise DamageError
        one = self._channels[channel]
        encoding = one.encoding or (self._profile if self._profile == 'ros1' else 'cdr')
        if one.schema in self._schemas:
            return Topic(one.topic, self._schemas[one.schema][0], encoding)
        if encoding == 'cdr':
            raise DamageError
        return Topic(one.topic, '', encoding)

    def _note(self, error: Exception) -> None:
        self._damage[str(error) if isinstance(error, DamageError) else ''] += 1


def _checksum(file: BinaryIO, size: int) -> int:
    begin, checksum = file.tell(), 0
    for place in range(0, size, _STEP):
        checksum = crc32(_read(file, min(_STEP, size - place)), checksum)
    file.seek(begin)
    return checksum


def _read(file: BinaryIO, size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise EOFError
    return content


def _string(content: bytes, place: int) -> tuple[str, int]:
    (size,) = struct.unpack_from('<I', content, place)
    end = place + 4 + size
    if end > len(content):
        raise DamageError
    return content[place + 4 : end].decode(), end
