"""ROS 2 bags without ROS: images and segments out of .mcap and .db3, recordings into .mcap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
from meta_ood_ros.bags.files import BagReader
from meta_ood_ros.bags.recorded import BagMessage, Topic
from meta_ood_ros.bags.types import DamagedMessageError, TypeStore
from meta_ood_ros.bags.writer import BagWriter
from meta_ood_ros.messages.compressed import decode_compressed
from meta_ood_ros.messages.encodings import decode_pixels
import numpy as np

__all__ = [
    'IMAGE_TYPES',
    'SEGMENTS_TYPE',
    'Bag',
    'BagLossError',
    'BagWriter',
    'DamagedMessageError',
    'RecordedMessage',
    'TypeStore',
]

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
SEGMENTS_TYPE = 'meta_ood_msgs/msg/OodSegmentArray'

_FROM_ROS1 = (
    'mcap convert leaves them so. Convert the .bag that it was made from: pip install rosbags; '
    'rosbags-convert --src NAME.bag --dst NAME_ros2 --dst-storage mcap.'
)
_FROM_OTHERS = (
    'No tool turns these into sensor_msgs. Publish the pictures in ROS 2 as sensor_msgs/msg/Image '
    'or CompressedImage and record them with ros2 bag record -s mcap; pictures alone can be '
    'played from a folder, too (--images of the demo).'
)


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
        """Return the stamp of its header, in nanoseconds; ValueError without one."""
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
        try:
            return self._decode(message)
        except cv2.error as error:
            raise ValueError(
                f'{self.raw.topic} must hold images that OpenCV reads, got one of '
                f'{len(message.data)} bytes that it refuses ({error.err}). The message is damaged.'
            ) from error

    @staticmethod
    def _decode(message: Any) -> np.ndarray:
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
        Topic -> number of messages, as the index says or, without one, as can be read. Where the
        two differ, `loss` says so in the end, and all that can be read is delivered.

    Raises
    ------
    ValueError
        No bag there, or nothing in it can be read.

    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._reader = BagReader(self.path)
        self._types = TypeStore()
        self._others: Counter[tuple[str, str]] = Counter()
        self._is_counted = False
        index = self._reader.read_index()
        self._survey(index if index and any(index.values()) else self._count())
        if any(self.counts.values()):
            return
        if self._reader.foreign:
            raise ValueError(self._describe_foreign())
        raise ValueError(
            f'bag must hold messages, got none that can be read from {self.path}'
            f'{f": {self.loss}" if self.loss else ""}. Record it again.'
        )

    def _count(self) -> Counter[Topic]:
        """Return the number of messages of each topic as they can be read."""
        self._is_counted = True
        return Counter(Topic(one.topic, one.type_name) for one in self._reader)

    def _survey(self, found: Counter[Topic]) -> None:
        """Take the type of each topic that most of its messages have."""
        self.topics: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        for one, count in found.items():
            if one.name not in self.topics or count > self.counts[one.name]:
                self.topics[one.name], self.counts[one.name] = one.type_name, count

    def _describe_foreign(self) -> str:
        """Say what messages the bag has that are not ROS 2's, and what to do."""
        topics = sorted(self._reader.foreign.values(), key=lambda one: one.name)
        encodings = sorted({one.encoding for one in topics})
        shown = ', '.join(f'{one.name} ({one.type_name or "no type"})' for one in topics[:4])
        if encodings == ['ros1']:
            what, advice = 'ROS 1', _FROM_ROS1
        else:
            what, advice = ' and '.join(encodings), _FROM_OTHERS
        return (
            f'{self.path} must hold messages of ROS 2, got those of {what}, on {shown}. {advice}'
        )

    @property
    def loss(self) -> str:
        """Return what could not be read, '' for a whole bag; known once it has been read."""
        others = [
            f'{self.path.name} has {count} messages of type {kind} on {topic}, not read: it is '
            f'of type {self.topics.get(topic)}'
            for (topic, kind), count in self._others.items()
        ]
        return '; '.join(filter(None, [self._reader.loss, *others]))

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
        fitting = self._fitting(type_names)
        if name not in fitting and (name or not fitting) and not self._is_counted:
            self._survey(self._count())  # the index may be wrong
            fitting = self._fitting(type_names)
        if name in fitting or (not name and len(fitting) == 1):
            return name or fitting[0]
        wanted = ' or '.join(kind.rsplit('/', 1)[1] for kind in type_names)
        if name in self._reader.foreign or (self._reader.foreign and not fitting):
            raise ValueError(self._describe_foreign())
        there = ', '.join(fitting) or f'none, only {", ".join(sorted(self.topics))}'
        raise ValueError(
            f'{self.path} must hold {"the topic " + name if name else "one topic"} of type '
            f'{wanted}, got {there}. '
            + (f'Choose with {option}.' if fitting else 'Record the camera too.')
        )

    def _fitting(self, type_names: Sequence[str]) -> list[str]:
        return sorted(topic for topic, kind in self.topics.items() if kind in type_names)

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
        self._others.clear()
        for raw in self._reader:
            if topics and raw.topic not in topics:
                continue
            if raw.type_name != self.topics.get(raw.topic, raw.type_name):
                self._others[raw.topic, raw.type_name] += 1
                continue
            yield RecordedMessage(raw, self._types)
        if strict and self.loss:
            raise BagLossError(f'{self.path}: {self.loss}. Everything before it was read.')
