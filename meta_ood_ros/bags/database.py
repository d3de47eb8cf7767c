"""A .db3 file of rosbag2 -> recorded messages, row after row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, ExitStack
import os
from pathlib import Path
import shutil
import sqlite3
from tempfile import TemporaryDirectory
from typing import Any

from meta_ood_ros.bags.recorded import BagMessage, DamageError, Topic
from meta_ood_ros.bags.unpacking import LIMIT, plain_message

MAGIC = b'SQLite format 3\0'
# What SQLite raises about a file; the others of its errors are about the program.
_ABOUT_THE_FILE = (sqlite3.DatabaseError,)
_ABOUT_THE_PROGRAM = (sqlite3.ProgrammingError, sqlite3.NotSupportedError)


class SqliteFile:
    """
    A rosbag2 sqlite3 file.

    Attributes
    ----------
    loss : str
        After reading: what could not be read; '' for a whole file.
    foreign : dict of str to Topic
        Topics that were met whose messages are not ROS 2's; these are not delivered.

    """

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()  # a log lies beside the file, not beside a link to it
        self.loss = ''
        self.foreign: dict[str, Topic] = {}

    def read_index(self) -> Counter[Topic] | None:
        """Return the number of rows of each topic; None for a damaged file."""
        found: Counter[Topic] = Counter()
        try:
            with self._open() as database:
                topics = self._topics(database)
                found.update(dict.fromkeys(topics.values(), 0))
                for _, number in _ascending(
                    database.execute('SELECT rowid, topic_id FROM messages ORDER BY rowid')
                ):
                    if number in topics:
                        found[topics[number]] += 1
        except _ABOUT_THE_PROGRAM:
            raise
        except (*_ABOUT_THE_FILE, DamageError):
            return None
        return found

    def __iter__(self) -> Iterator[BagMessage]:
        """Yield every message that can be read; then `loss` is known."""
        read, damaged = 0, 0
        self.loss = ''
        try:
            with self._open() as database:
                topics = self._topics(database)
                definitions = self._definitions(database)
                # Text, numbers and what no message can be are not even taken into memory.
                rows = database.execute(
                    "SELECT rowid, topic_id, timestamp, CASE WHEN typeof(data) = 'blob' AND "
                    'length(data) <= ? THEN data END FROM messages ORDER BY rowid',
                    (LIMIT,),
                )
                for _, number, time, data in _ascending(rows):
                    topic = topics.get(number)
                    if topic is None or not isinstance(time, int) or not isinstance(data, bytes):
                        damaged += 1
                        continue
                    try:
                        if topic.is_foreign:
                            self.foreign[topic.name] = topic
                            continue
                        data = plain_message(data)
                    except DamageError:
                        damaged += 1
                        continue
                    read += 1
                    definition = definitions.get(topic.type_name, '')
                    yield BagMessage(topic.name, topic.type_name, definition, time, data)
        except _ABOUT_THE_PROGRAM:
            raise
        except (*_ABOUT_THE_FILE, DamageError) as error:
            self.loss = f'ends early: nothing can be read after its first {read} messages'
            self.loss += f' ({error})'
        if damaged:
            self.loss = f'{self.loss + ", and " if self.loss else ""}has {damaged} damaged records'

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with ExitStack() as stack:
            path, mode = self._path, 'immutable=1'
            # A log that was never merged holds the last messages of a killed recorder; without
            # one the file is read as it is, so that a folder without write permission will do.
            logs = [one for one in ('-wal', '-journal') if self._beside(one).exists()]
            if logs == ['-wal'] and os.access(path.parent, os.W_OK):
                mode = 'mode=ro'
            elif logs:
                try:
                    path, mode = self._copy(stack, logs), 'mode=rw'
                except OSError as error:
                    raise DamageError(
                        f'no room for a copy to merge {path.name}{logs[0]} into: {error.strerror}'
                    ) from error
            # Read by one thread at a time, but not always by the same.
            database = sqlite3.connect(
                f'{path.as_uri()}?{mode}', uri=True, check_same_thread=False
            )
            stack.callback(database.close)
            database.text_factory = _to_text
            # Lets SQLite read a file that is shorter than its first page says.
            database.execute('PRAGMA writable_schema=ON')
            for name in ('topics', 'messages'):
                if not _is_table(database, name):
                    raise DamageError(f'{name} is no table of stored rows')
            yield database

    def _beside(self, ending: str) -> Path:
        return self._path.with_name(self._path.name + ending)

    def _copy(self, stack: ExitStack, logs: list[str]) -> Path:
        """Return a copy into which SQLite can merge the logs."""
        copy = Path(stack.enter_context(TemporaryDirectory())) / self._path.name
        for ending in ('', *logs):
            shutil.copyfile(self._beside(ending), copy.with_name(copy.name + ending))
        return copy

    def _topics(self, database: sqlite3.Connection) -> dict[Any, Topic]:
        rows = database.execute('SELECT rowid, * FROM topics ORDER BY rowid')
        columns = [one[0] for one in rows.description]
        topics = {}
        for row in _ascending(rows):
            one = dict(zip(columns, row, strict=True))
            name, kind, encoding = (
                one.get(key) for key in ('name', 'type', 'serialization_format')
            )
            if isinstance(name, str) and isinstance(kind, str):
                encoding = encoding if isinstance(encoding, str) and encoding else 'cdr'
                topics[one.get('id')] = Topic(name, kind, encoding)
        return topics

    def _definitions(self, database: sqlite3.Connection) -> dict[str, str]:
        """Return type definitions; only bags since Iron have them."""
        if not _is_table(database, 'message_definitions'):
            return {}
        rows = database.execute(
            'SELECT rowid, topic_type, encoded_message_definition FROM message_definitions '
            'ORDER BY rowid'
        )
        return {
            one: text
            for _, one, text in _ascending(rows)
            if isinstance(one, str) and isinstance(text, str)
        }


def _is_table(database: sqlite3.Connection, name: str) -> bool:
    """Return whether rows of this name are stored: those of a view or function may never end."""
    kinds = database.execute(
        'SELECT type, rootpage, sql FROM sqlite_master WHERE lower(name) = ?', (name,)
    ).fetchall()
    stored = [
        isinstance(page, int) and page > 0 and kind == 'table'
        and isinstance(sql, str) and sql.upper().startswith('CREATE TABLE')
        for kind, page, sql in kinds
    ]  # fmt: skip
    # Computed columns may be of any size.
    (computed,) = database.execute(
        'SELECT count(*) FROM pragma_table_xinfo(?) WHERE hidden', (name,)
    ).fetchone()
    return bool(stored) and all(stored) and not computed


def _ascending(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Yield rows while their first column rises: damaged pages that lead in a circle do not."""
    last = None
    for row in rows:
        if last is not None and row[0] <= last:
            raise DamageError(f'row {row[0]} comes after row {last}')
        last = row[0]
        yield row


def _to_text(content: bytes) -> str:
    return content.decode(errors='replace')
