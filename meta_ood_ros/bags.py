"""ROS 2 bags without ROS: images and segments out of .mcap and .db3, recordings into .mcap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
import shutil
from typing import Any

from meta_ood_ros.bag_files import BagMessage, BagReader
from meta_ood_ros.compressed import decode_compressed
from meta_ood_ros.encodings import decode_pixels
import numpy as np
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import get_types_from_idl, get_types_from_msg, get_typestore, Stores

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
SEGMENTS_TYPE = 'meta_ood_msgs/msg/OodSegmentArray'

_MESSAGES = ('OodSegment', 'OodSegmentArray')


class BagLossError(Exception):
    """Part of a bag could not be read; what could was delivered before."""


@dataclass(frozen=True)
class RecordedMessage:
    """
    A message of a bag.

    Parameters
    ----------
    raw : BagMessage
        As it was recorded.
    types : TypeStore
        Knows how to read it.

    """

    raw: BagMessage
    types: TypeStore

    @cached_property
    def message(self) -> Any:
        """Return the message object, its fields as in the .msg file; ValueError if damaged."""
        return self.types.read(self.raw)

    @property
    def stamp_ns(self) -> int:
        """Return the stamp of its header, in nanoseconds."""
        return self.raw.stamp_ns

    def to_rgb(self) -> np.ndarray:
        """
        Return the pixels of an Image or CompressedImage.

        Returns
        -------
        ndarray of shape (H, W, 3), uint8
            RGB; it may be a view of the message.

        Raises
        ------
        ValueError
            Anything that is not a whole image in a supported encoding.

        """
        message = self.message
        if hasattr(message, 'format'):
            return decode_compressed(message.data, format=message.format)
        return decode_pixels(
            message.data,
            encoding=message.encoding,
            height=message.height,
            width=message.width,
            step=message.step,
            is_bigendian=bool(message.is_bigendian),
        )


class TypeStore:
    """Message types by name: those of ROS, ours, and those that a bag brings along."""

    def __init__(self) -> None:
        self.store = get_typestore(Stores.ROS2_KILTED)

    def read(self, raw: BagMessage) -> Any:
        """Return the message object of recorded bytes; ValueError if they are damaged."""
        self.add(raw.type_name, raw.definition)
        try:
            return self.store.deserialize_cdr(raw.data, raw.type_name)
        # rosbags lets through whatever its generated readers raise on bytes that stop short.
        except Exception as error:
            raise ValueError(
                f'{raw.topic} must hold {raw.type_name}, got {len(raw.data)} bytes that are none '
                f'({error}). The message is damaged.'
            ) from error

    def add(self, type_name: str, definition: str = '') -> None:
        """Learn a type from its definition in a bag or, for our own, from the installed text."""
        if type_name in self.store.types:
            return
        if definition.startswith('=' * 80 + '\nIDL:'):
            types = get_types_from_idl(definition)
        elif definition:
            types = get_types_from_msg(definition, type_name)
        elif type_name.startswith('meta_ood_msgs/msg/'):
            types = {}
            for name in _MESSAGES:
                text = (_message_folder() / f'{name}.msg').read_text(encoding='utf-8')
                types.update(get_types_from_msg(text, f'meta_ood_msgs/msg/{name}'))
        else:
            raise ValueError(
                f'bag must hold the definition of {type_name}, got none. Record it again with '
                'ROS 2 Iron or later, or as .mcap.'
            )
        self.store.register({k: v for k, v in types.items() if k not in self.store.types})


def _message_folder() -> Path:
    """Return where the .msg files are installed: <prefix>/share beside <prefix>/lib."""
    spec = find_spec('meta_ood_msgs')
    places = Path(spec.origin).parents if spec and spec.origin else ()
    for prefix in places:
        folder = prefix / 'share' / 'meta_ood_msgs' / 'msg'
        if folder.is_dir():
            return folder
    raise ValueError(
        'meta_ood_msgs must be installed with its .msg files, got none. Run make install, or '
        'build the package with colcon and source its workspace.'
    )


class Bag:
    """
    A recorded bag.

    Parameters
    ----------
    path : str or Path
        A .mcap or .db3 file, or a folder with such files.

    Attributes
    ----------
    topics : dict of str to str
        Topic -> type name.
    counts : dict of str to int
        Topic -> number of messages, as the index says or, without one, as can be read.

    Raises
    ------
    ValueError
        No bag there, or nothing in it can be read.

    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._reader = BagReader(self.path)
        self._types = TypeStore()
        self.topics, self.counts = self._survey()
        if not any(self.counts.values()):
            raise ValueError(
                f'bag must hold messages, got none that can be read from {self.path}'
                f'{f": {self.loss}" if self.loss else ""}. Record it again.'
            )

    def _survey(self) -> tuple[dict[str, str], dict[str, int]]:
        """Return type and number of messages of each topic, from the index if there is one."""
        try:
            with Reader(self.path) as reader:
                connections = list(reader.connections)
        # Whatever is wrong with the index: the messages may still be there.
        except Exception:
            topics = {}
            counts: Counter[str] = Counter()
            for raw in self._reader:
                topics[raw.topic] = raw.type_name
                counts[raw.topic] += 1
            return topics, dict(counts)
        return (
            {one.topic: one.msgtype for one in connections},
            {one.topic: one.msgcount for one in connections},
        )

    @property
    def loss(self) -> str:
        """Return what could not be read, '' for a whole bag; known once it has been read."""
        return self._reader.loss

    def choose_topic(
        self, type_names: Sequence[str], name: str = '', *, option: str = '--topic'
    ) -> str:
        """
        Return the topic of the wanted types: the named one, or the only one.

        Parameters
        ----------
        type_names : sequence of str
            As in 'sensor_msgs/msg/Image'.
        name : str
            '' takes the only one.
        option : str
            How the user names it, for the error.

        Returns
        -------
        str
            A key of `topics`.

        """
        fitting = sorted(topic for topic, kind in self.topics.items() if kind in type_names)
        if name in fitting or (not name and len(fitting) == 1):
            return name or fitting[0]
        wanted = ' or '.join(kind.rsplit('/', 1)[1] for kind in type_names)
        there = ', '.join(fitting) or f'none, only {", ".join(sorted(self.topics))}'
        raise ValueError(
            f'{self.path} must hold {"the topic " + name if name else "one topic"} of type '
            f'{wanted}, got {there}. '
            + (f'Choose with {option}.' if fitting else 'Record the camera too.')
        )

    def read(self, *topics: str, strict: bool = False) -> Iterator[RecordedMessage]:
        """
        Yield the messages of some topics in recorded order.

        Parameters
        ----------
        *topics : str
            None means all.
        strict : bool
            Raise BagLossError at the end of what can be read of a damaged bag.

        Yields
        ------
        RecordedMessage

        Raises
        ------
        BagLossError
            After the last readable message, if `strict`.

        """
        for raw in self._reader:
            if not topics or raw.topic in topics:
                yield RecordedMessage(raw, self._types)
        if strict and self.loss:
            raise BagLossError(f'{self.path}: {self.loss}. Everything before it was read.')


def _qos(*, latched: bool) -> Qos:
    """Return what the node offers: reliable, the latest message."""
    for_ever = QosTime(9223372036, 854775807)
    return Qos(
        QosHistory.KEEP_LAST,
        1,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        for_ever,
        for_ever,
        QosLiveliness.AUTOMATIC,
        for_ever,
        avoid_ros_namespace_conventions=False,
    )


class BagWriter:
    """
    Writes <folder>/<name>.mcap and a metadata.yaml beside it: both ros2 bag and players take it.

    While it is being written the file lies in <folder>/.<name>; a process that is killed leaves
    it there, readable to its last whole chunk. Chunks are zstd compressed.

    Parameters
    ----------
    folder : str or Path
        Where the bag goes; made if need be. A bag of the same name is replaced.
    name : str
        Of the file.

    Raises
    ------
    OSError
        Here and in `write` and `close`: the disk is full, the folder cannot be written.

    """

    def __init__(self, folder: str | Path, name: str) -> None:
        self.path = Path(folder) / f'{name}.mcap'
        self._work = Path(folder) / f'.{name}'
        self._types = TypeStore()
        self._connections: dict[str, Any] = {}
        self.counts: Counter[str] = Counter()
        Path(folder).mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._work, ignore_errors=True)
        self._writer: Writer | None = Writer(
            self._work / name, version=9, storage_plugin=StoragePlugin.MCAP
        )
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()

    def write(
        self, topic: str, type_name: str, data: bytes, log_time_ns: int, *, latched: bool = False
    ) -> None:
        """
        Append a message.

        Parameters
        ----------
        topic, type_name : str
            Type as in 'sensor_msgs/msg/Image'.
        data : bytes
            CDR, as rclpy's raw subscriptions deliver it.
        log_time_ns : int
            When it was received, in nanoseconds since 1970.
        latched : bool
            Whether players should offer it to late subscribers (transient local).

        """
        if topic not in self._connections:
            self._types.add(type_name)
            self._connections[topic] = self._writer.add_connection(
                topic,
                type_name,
                typestore=self._types.store,
                offered_qos_profiles=[_qos(latched=latched)],
            )
        self._writer.write(self._connections[topic], log_time_ns, data)
        self.counts[topic] += 1

    def close(self) -> Path:
        """
        Finish the bag; return its path.

        If the disk is full, what was written is kept under its name all the same, without index.
        """
        writer, self._writer = self._writer, None
        if writer is None:
            return self.path
        try:
            writer.close()
        except OSError:
            with suppress(OSError):
                writer.abort()
            raise
        finally:
            for file in (self._work / self.path.stem).glob('*'):
                file.replace(self.path.parent / file.name)
            shutil.rmtree(self._work, ignore_errors=True)
        return self.path

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
