"""Recorded bytes -> an .mcap bag that ROS 2 and its players take."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
import shutil
from typing import Any

from meta_ood_ros.bags.types import TypeStore
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer


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

        Raises
        ------
        ValueError
            The bag is closed.

        """
        if self._writer is None:
            raise ValueError(
                f'a bag takes messages until it is closed, got one of {topic} after {self.path} '
                'was closed. Write before close() and inside the with statement.'
            )
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
