"""The storage files of a ROS 2 bag -> recorded bytes, as far as they can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from meta_ood_ros.bags.database import MAGIC as SQLITE_MAGIC
from meta_ood_ros.bags.database import SqliteFile
from meta_ood_ros.bags.folder import find_bag_files, listed_counts, read_head
from meta_ood_ros.bags.mcap import MAGIC as MCAP_MAGIC
from meta_ood_ros.bags.mcap import McapFile
from meta_ood_ros.bags.recorded import BagMessage, Topic
from meta_ood_ros.bags.unpacking import unpack_file


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
        After reading: what could not be read, and counts that are not those of the messages;
        '' where the bag is whole.
    foreign : dict of str to Topic
        Topics whose messages are not ROS 2's; they are not delivered.

    Raises
    ------
    ValueError
        No bag there, or one recording in two formats.

    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.files, self._amiss = find_bag_files(self.path)
        self.loss = ''
        self.foreign: dict[str, Topic] = {}
        self._unpacked: dict[Path, tuple[Path, str]] = {}
        self._indices: dict[Path, Counter[Topic] | None] = {}
        self._folder: TemporaryDirectory[str] | None = None

    def read_index(self) -> Counter[Topic] | None:
        """Return the number of messages of each topic; None where a file has no index."""
        found: Counter[Topic] = Counter()
        for file in self.files:
            self._indices[file] = index = self._open(file)[0].read_index()
            if index is None:
                return None
            for topic, count in index.items():
                if topic.encoding == 'cdr':
                    found[topic] += count
        return found

    def __iter__(self) -> Iterator[BagMessage]:
        """Yield every readable message in recorded order; then `loss` is known."""
        losses = [f'{self.path.name} {self._amiss}'] if self._amiss else []
        total: Counter[str] = Counter()
        for file in self.files:
            reader, packed = self._open(file)
            if file not in self._indices:
                self._indices[file] = reader.read_index()
            index = self._indices[file]
            counts: Counter[str] = Counter()
            for message in reader:
                counts[message.topic] += 1
                yield message
            total += counts
            self.foreign.update(reader.foreign)
            loss = reader.loss
            if index is not None and not loss:
                loss = _compare('has an index that counts', _by_name(index), counts)
            losses += [f'{file.name} {one}' for one in (packed, loss) if one]
        if not losses and self.path.is_dir():
            listed = listed_counts(self.path, self.files)
            listed = {name: listed[name] for name in listed if name not in self.foreign}
            loss = _compare('has a metadata.yaml that counts', listed, total) if listed else ''
            losses += [f'{self.path.name} {loss}'] if loss else []
        self.loss = '; '.join(losses)

    def _open(self, file: Path) -> tuple[McapFile | SqliteFile, str]:
        """Return the reader of a file, whatever its name says; and what could not be unpacked."""
        amiss = ''
        if file.suffix == '.zstd':
            if file not in self._unpacked:
                if self._folder is None:
                    self._folder = TemporaryDirectory()
                plain = Path(self._folder.name) / file.stem
                self._unpacked[file] = plain, unpack_file(file, plain)
            file, amiss = self._unpacked[file]
        head = read_head(file)
        is_mcap = head.startswith(MCAP_MAGIC)
        is_mcap |= file.suffix == '.mcap' and not head.startswith(SQLITE_MAGIC)
        return (McapFile if is_mcap else SqliteFile)(file), amiss


def _by_name(index: Counter[Topic]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for topic, count in index.items():
        if topic.encoding == 'cdr':
            counts[topic.name] += count
    return counts


def _compare(what: str, claimed: dict[str, int], read: Counter[str]) -> str:
    """Say which counts are not those of the messages."""
    wrong = [
        f'{claimed.get(topic, 0)} messages on {topic} where {read[topic]} are'
        for topic in sorted({*claimed, *read})
        if claimed.get(topic, 0) != read[topic]
    ]
    return f'{what} {", ".join(wrong)}' if wrong else ''
