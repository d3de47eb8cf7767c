"""What the demo knows about a frame once the node has answered."""

from __future__ import annotations

from dataclasses import dataclass, field
import struct

from meta_ood_msgs.msg import OodObstacleArray, OodSegmentArray
from meta_ood_ros.demo.frames import DemoFrame
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image


@dataclass(eq=False)
class Received:
    """A message as it came in."""

    topic: str
    type_name: str
    data: bytes
    time_ns: int
    latched: bool = False


@dataclass(eq=False)
class Answer:
    """What became of one frame."""

    frame: DemoFrame
    camera: str
    drop: str = ''
    latency_ms: float = float('nan')
    segments: OodSegmentArray | None = None
    obstacles: OodObstacleArray | None = None
    pictures: dict[str, Received] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def is_lost(self) -> bool:
        """Return whether nobody knows what became of it."""
        return self.segments is None and not self.drop

    def picture(self, name: str) -> Image:
        """Return one of the pictures as a message."""
        return deserialize_message(self.pictures[name].data, Image)


def stamp_of(data: bytes) -> int:
    """Return the stamp, in nanoseconds, of a serialized message that begins with a Header."""
    seconds, nanoseconds = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, 4)
    return seconds * 10**9 + nanoseconds
