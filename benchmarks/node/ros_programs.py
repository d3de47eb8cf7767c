"""
What runs beside a benchmark in a process of its own.

    python -m benchmarks.node.ros_programs node TIMES [--ros-args ...]
    python -m benchmarks.node.ros_programs pass_through

`node` is the real node, which also writes the times of the stages of every frame to the file
TIMES, one JSON object a line: /diagnostics tells their means over many frames, and a mean cannot
be subtracted from the latency of one frame. `pass_through` is what it is compared with.
"""

from collections import deque
from collections.abc import Mapping, Sequence
import json
from pathlib import Path
import sys
from typing import Any

from meta_ood_ros.node.stopping import Stop


class WrittenTimes(deque[Mapping[str, float]]):
    """The times of the last frames, of which each is also a line of a file."""

    def __init__(self, path: Path) -> None:
        super().__init__(maxlen=30)
        self._file = path.open('w')

    def append(self, times: Mapping[str, float]) -> None:
        """Add a frame, which has been published by now."""
        super().append(times)
        self._file.write(json.dumps(dict(times)) + '\n')
        self._file.flush()


def run_node(times: Path, arguments: Sequence[str]) -> int:
    """Run the node of the package with one camera until it is told to stop."""
    from meta_ood_ros.node import ood_node
    from meta_ood_ros.node.diagnostics import CameraRecord

    make = CameraRecord.__init__

    def make_and_write(self: CameraRecord, *given: Any, **named: Any) -> None:
        make(self, *given, **named)
        self.milliseconds = WrittenTimes(times)

    CameraRecord.__init__ = make_and_write  # type: ignore[method-assign]
    return ood_node.main([sys.argv[0], *arguments])


def run_pass_through() -> int:
    """
    Publish on pass_through/answer whatever comes on pass_through/image, as it is.

    While somebody listens to pass_through/header, only the header of the image goes there.
    """
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    rclpy.init()
    node = rclpy.create_node('pass_through')
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)  # as the node's
    images = node.create_publisher(Image, 'pass_through/answer', qos)
    headers = node.create_publisher(Header, 'pass_through/header', qos)

    def pass_on(message: Image) -> None:
        if headers.get_subscription_count():
            headers.publish(message.header)
        else:
            images.publish(message)

    node.create_subscription(Image, 'pass_through/image', pass_on, qos)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run one of the two."""
    Stop().listen_to_parent()
    if arguments[0] == 'pass_through':
        return run_pass_through()
    return run_node(Path(arguments[1]), arguments[2:])


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
