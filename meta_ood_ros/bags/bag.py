"""ROS 2 bags without ROS: images and segments out of .mcap and .db3, recordings into .mcap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from meta_ood_ros.bags.files import BagMessage, BagReader
from meta_ood_ros.bags.types import TypeStore
from meta_ood_ros.bags.writer import BagWriter
from meta_ood_ros.messages.compressed import decode_compressed
from meta_ood_ros.messages.encodings import decode_pixels
import numpy as np
from rosbags.rosbag2 import Reader

__all__ = [
    'IMAGE_TYPES',
    'SEGMENTS_TYPE',
    'Bag',
    'BagLossError',
    'BagWriter',
    'RecordedMessage',
    'TypeStore',
]

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
SEGMENTS_TYPE = 'meta_ood_msgs/msg/OodSegmentArray'


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
