"""An offline camera driver and recorder: sends a frame, then waits for everything about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
import queue
import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from meta_ood_msgs.msg import OodObstacleArray, OodSegmentArray
from meta_ood_ros.demo.answers import Answer, Received, stamp_of
from meta_ood_ros.demo.frames import DemoFrame
from meta_ood_ros.demo.node import NodeDiedError
from meta_ood_ros.messages.conversions import to_image
from meta_ood_ros.messages.pictures import PICTURES
from meta_ood_ros.messages.vision_messages import find_vision_msgs
import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

#: An answer may take this long; then the frame counts as lost. In seconds.
ANSWER_SECONDS = 30.0
# The pictures follow their ~/segments at once; this is for a machine that is otherwise busy.
_PICTURE_SECONDS = 10.0
# The first start compiles kernels, and a large network takes its time to load.
_START_SECONDS = 300.0
# Both ends have found each other here, but perhaps not there; nothing tells. In seconds.
_SETTLE_SECONDS = 0.5


class Player:
    """The demo's half of the conversation."""

    def __init__(
        self,
        cameras: Sequence[str],
        *,
        namespace: str,
        transport: str,
        has_depth: bool,
        record: Callable[[Received], None],
        check_node: Callable[[], None],
    ) -> None:
        self._record = record
        self._check_node = check_node
        self._arrivals: queue.SimpleQueue[tuple[str, str, Received, float]] = queue.SimpleQueue()
        self._facts: dict[str, dict[str, str]] = {camera: {} for camera in cameras}
        self._problem = ''
        self._fqn = f'{namespace}/ood'
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node('demo_player', namespace=namespace, context=self._context)
        message_type = Image if transport == 'raw' else CompressedImage
        self._senders: dict[str, Any] = {}
        #: Of depth and of calibration, by camera.
        self._depth_senders: dict[str, tuple[Any, Any]] = {}
        self._outputs: list[Any] = []
        for camera in cameras:
            topic = f'{camera}/image' if camera else 'image'
            topic += '' if transport == 'raw' else '/compressed'
            self._senders[camera] = self._node.create_publisher(message_type, topic, 1)
            if has_depth:
                prefix = f'{camera}/' if camera else ''
                self._depth_senders[camera] = (
                    self._node.create_publisher(Image, f'{prefix}depth', 1),
                    self._node.create_publisher(CameraInfo, f'{prefix}camera_info', 1),
                )
                self._listen(camera, 'obstacles', OodObstacleArray)
            self._listen(camera, 'segments', OodSegmentArray)
            for name in PICTURES:
                self._listen(camera, name, Image)
            vision = find_vision_msgs()
            if vision is not None:
                self._listen(camera, 'detections', vision.Detection2DArray)
                self._listen(camera, 'label_info', vision.LabelInfo, latched=True)
        self._awaited = {'segments', *PICTURES, *({'detections'} if vision is not None else ())}
        self._awaited |= {'obstacles'} if has_depth else set()
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 50)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def _listen(
        self, camera: str, name: str, message_type: type, *, latched: bool = False
    ) -> None:
        topic = '/'.join(part for part in (self._fqn, camera, name) if part)
        package, _, kind = message_type.__module__.partition('.')[0], None, message_type.__name__

        def arrived(data: bytes) -> None:
            now = time.monotonic()
            one = Received(topic, f'{package}/msg/{kind}', data, time.time_ns(), latched)
            self._arrivals.put((camera, name, one, now))

        durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
        self._outputs.append(
            self._node.create_subscription(message_type, topic, arrived, qos, raw=True)
        )

    def _on_diagnostics(self, array: DiagnosticArray) -> None:
        for status in array.status:
            if status.name.partition(':')[0] != self._fqn:
                continue
            facts = {one.key: one.value for one in status.values}
            camera = status.name.partition(': ')[2]
            for one in {camera, '' if camera == 'image' else camera} & set(self._facts):
                self._facts[one] = facts
            stopped = status.level == DiagnosticStatus.ERROR and facts.get('state') != 'active'
            self._problem = status.message if stopped else self._problem

    def wait_for_node(self) -> None:
        """
        Return when the node hears this player and is heard.

        Raises
        ------
        NodeDiedError
            It died, or is not ready within five minutes.

        """
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_connected():
            self._check()
            if time.monotonic() > deadline:
                raise NodeDiedError(f'The node was not ready within {_START_SECONDS:.0f} s.')
            time.sleep(0.05)
        time.sleep(_SETTLE_SECONDS)

    def _is_connected(self) -> bool:
        return (
            all(one.get_subscription_count() for one in self._senders.values())
            and all(
                one.get_subscription_count()
                for pair in self._depth_senders.values()
                for one in pair
            )
            and all(self._node.count_publishers(one.topic_name) for one in self._outputs)
            and all(
                facts.get('state') == 'active' and facts.get('idle') == 'false'
                for facts in self._facts.values()
            )
        )

    def _check(self) -> None:
        self._check_node()
        if self._problem:
            raise NodeDiedError(f'The node stopped to work: {self._problem}')

    def play(self, frames: Mapping[str, DemoFrame]) -> list[Answer]:
        """
        Send one frame to each of some cameras; return when it is known what became of all.

        Raises
        ------
        NodeDiedError
            The node died over them.

        """
        pending = {camera: _Pending(Answer(one, camera)) for camera, one in frames.items()}
        for camera, one in pending.items():
            one.dropped_before = self._count(camera, 'dropped')
            one.idle_before = self._count(camera, 'idle_frames')
            self._send(camera, one)
        while not all(one.is_done(self._awaited) for one in pending.values()):
            self._take(pending)
            self._check()
            for camera, one in pending.items():
                if self._count(camera, 'dropped') > one.dropped_before:
                    one.answer.drop = self._facts[camera].get('last_drop', 'no reason given')
                elif self._count(camera, 'idle_frames') > one.idle_before:
                    # The node had not found its subscribers yet: it takes the frame again.
                    one.idle_before = self._count(camera, 'idle_frames')
                    self._publish(camera, one)
        for one in pending.values():
            if one.answer.segments is not None:
                one.answer.missing = tuple(sorted(self._awaited - one.came))
        return [one.answer for one in pending.values()]

    def _send(self, camera: str, one: _Pending) -> None:
        frame, sender = one.answer.frame, self._senders[camera]
        if frame.recorded is not None:
            one.data, one.stamp_ns = frame.recorded.raw.data, frame.recorded.stamp_ns
            kind = frame.recorded.raw.type_name
        else:
            assert frame.image is not None  # a frame that is played has the one or the other
            one.stamp_ns, kind = time.time_ns(), 'sensor_msgs/msg/Image'
            header = Header(frame_id=f'{camera or "camera"}_optical_frame')
            header.stamp.sec, header.stamp.nanosec = divmod(one.stamp_ns, 10**9)
            one.data = serialize_message(to_image(header, frame.image, 'rgb8'))
            if frame.labels is not None:
                labels = serialize_message(to_image(header, frame.labels, 'mono8'))
                topic = sender.topic_name.removesuffix('image') + 'labels'
                self._record(Received(topic, kind, labels, one.stamp_ns))
            if frame.depth is not None and frame.scene is not None:
                self._send_depth(camera, header, frame.depth, frame.scene.camera_matrix)
        self._record(Received(sender.topic_name, kind, one.data, one.stamp_ns))
        self._publish(camera, one)

    def _send_depth(
        self, camera: str, header: Header, pixels: np.ndarray, camera_matrix: np.ndarray
    ) -> None:
        """Send what belongs to a picture, before it."""
        depth = to_image(header, pixels, 'mono16')
        depth.encoding = '16UC1'
        height, width = pixels.shape
        info = CameraInfo(
            header=header, height=height, width=width, distortion_model='plumb_bob', d=[0.0] * 5,
            k=camera_matrix.ravel().tolist(),
        )  # fmt: skip
        for sender, message in zip(self._depth_senders[camera], (depth, info), strict=True):
            data = serialize_message(message)
            kind = f'sensor_msgs/msg/{type(message).__name__}'
            stamp_ns = header.stamp.sec * 10**9 + header.stamp.nanosec
            self._record(Received(sender.topic_name, kind, data, stamp_ns))
            sender.publish(data)

    def _publish(self, camera: str, one: _Pending) -> None:
        one.sent = time.monotonic()
        one.deadline = one.sent + ANSWER_SECONDS
        self._senders[camera].publish(one.data)

    def _take(self, pending: Mapping[str, _Pending]) -> None:
        """Record the next message, if one comes soon, and note whose answer it is."""
        try:
            camera, name, received, now = self._arrivals.get(timeout=0.05)
        except queue.Empty:
            return
        self._record(received)
        one = pending.get(camera)
        if one is None or name == 'label_info' or stamp_of(received.data) != one.stamp_ns:
            return
        one.came.add(name)
        if name == 'segments':
            one.answer.segments = deserialize_message(received.data, OodSegmentArray)
            one.answer.latency_ms = 1000 * (now - one.sent)
            one.deadline = now + _PICTURE_SECONDS
        elif name == 'obstacles':
            one.answer.obstacles = deserialize_message(received.data, OodObstacleArray)
        else:
            one.answer.pictures[name] = received

    def _count(self, camera: str, key: str) -> int:
        return int(self._facts[camera].get(key, 0))

    def close(self) -> None:
        """Leave the conversation."""
        self._executor.shutdown()
        self._thread.join(5)
        self._node.destroy_node()
        self._context.try_shutdown()


@dataclass(eq=False)
class _Pending:
    """A frame whose answer is not complete."""

    answer: Answer
    data: bytes = b''
    stamp_ns: int = 0
    sent: float = 0.0
    deadline: float = 0.0
    dropped_before: int = 0
    idle_before: int = 0
    came: set[str] = field(default_factory=set)

    def is_done(self, awaited: set[str]) -> bool:
        return bool(self.answer.drop) or self.came >= awaited or time.monotonic() > self.deadline
