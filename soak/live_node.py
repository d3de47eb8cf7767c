"""The real node in this process, with a small real network, and a camera and a listener."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
import os
from pathlib import Path
import threading
import time
from typing import Any

from meta_ood_msgs.msg import OodSegmentArray
from meta_ood_ros.core.bundle_files import save_bundle
from meta_ood_ros.messages.conversions import to_image
from meta_ood_ros.node.ood_node import OodNode
import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from soak.tiny_data import make_bundle

SIZE = (48, 64)
COUNTED = ('processed', 'idle', 'dropped_total')


class LiveNode:
    """
    The node under attack and the peer that attacks it, each in its executor's thread.

    Parameters
    ----------
    folder : Path
        Where the bundle of the node is written.

    """

    def __init__(self, folder: Path, **parameters: Any) -> None:
        # Before rclpy is initialised: a domain of this attack's own, on this machine only.
        os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
        os.environ['ROS_DOMAIN_ID'] = str(101 + os.getpid() % 100)
        if not (folder / 'bundle').exists():
            save_bundle(make_bundle(0), folder / 'bundle')
        self.context = Context()
        rclpy.init(context=self.context)
        given = {'bundle': str(folder / 'bundle'), 'device': 'cpu', **parameters}
        self.node = OodNode(
            context=self.context,
            parameter_overrides=[Parameter(name, value=one) for name, one in given.items()],
        )
        self.peer = rclpy.create_node('attacker', context=self.context)
        self._executors = [SingleThreadedExecutor(context=self.context) for _ in range(2)]
        self._threads = []
        for executor, node in zip(self._executors, (self.node, self.peer), strict=True):
            executor.add_node(node)
            thread = threading.Thread(target=self._spin, args=(executor,), daemon=True)
            thread.start()
            self._threads.append(thread)
        self.answers: list[OodSegmentArray] = []
        self._cameras: dict[tuple[str, type], Any] = {}

    def _spin(self, executor: SingleThreadedExecutor) -> None:
        with suppress(ExternalShutdownException):  # the end of the attack
            executor.spin()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function in the node's executor and return what it returns."""
        future = self._executors[0].create_task(function, *arguments)
        wait_for(future.done, 120)
        return future.result()

    def do(self, transition: str) -> str:
        """Have the node make a transition; return how it ended."""
        ended = self.call(getattr(self.node, f'trigger_{transition}'))
        return str(ended.to_label()).removeprefix('transition_')

    @property
    def state(self) -> str:
        """Return the state of the node."""
        return str(self.node._state_machine.current_state[1])

    @property
    def session(self) -> Any:
        """Return what exists while the node is configured."""
        return self.node._session

    def listen(self, camera: str = '') -> None:
        """Collect the answers to a camera."""
        topic = f'ood/{camera}/segments' if camera else 'ood/segments'
        self.peer.create_subscription(OodSegmentArray, topic, self.on_answer, QoSProfile(depth=50))

    def on_answer(self, answer: OodSegmentArray) -> None:
        """Take in an answer; the latest hundred are kept."""
        self.answers.append(answer)
        del self.answers[:-100]

    def camera(self, name: str = '', kind: type = Image) -> Any:
        """Return the publisher of a camera."""
        if (name, kind) not in self._cameras:
            topic = f'{name}/image' if name else 'image'
            topic += '/compressed' * (kind is CompressedImage)
            self._cameras[name, kind] = self.peer.create_publisher(kind, topic, 10)
        return self._cameras[name, kind]

    def connect(self, *names: str, kind: type = Image) -> None:
        """Wait until the node hears the cameras and is heard."""
        for name in names:
            topic = f'/ood/{name}/segments' if name else '/ood/segments'
            wait_for(self.camera(name, kind).get_subscription_count)
            wait_for(partial(self.node.count_subscribers, topic))

    def counts(self, camera: str = '') -> Any:
        """Return what became of the frames of a camera."""
        return self.session._frames.counts[camera]

    def settled(self, camera: str = '') -> int:
        """Return of how many frames it is known what became of them."""
        return sum(getattr(self.counts(camera), name) for name in COUNTED)

    def answers_one(self) -> bool:
        """Send a sound frame until one is answered, for some seconds."""
        header = new_header()
        end = time.monotonic() + 20
        while time.monotonic() < end:
            self.camera().publish(to_image(header, np.zeros((*SIZE, 3), np.uint8), 'rgb8'))
            pause = time.monotonic() + 0.5
            while time.monotonic() < pause:
                if any(one.header.stamp == header.stamp for one in self.answers):
                    return True
                time.sleep(0.005)
        return False

    def close(self) -> None:
        """Take everything down."""
        self.call(self.node.destroy_node)
        self.peer.destroy_node()
        self.context.try_shutdown()
        for thread in self._threads:
            thread.join(5)


def new_header() -> Header:
    """Return a header of now."""
    header = Header(frame_id='camera')
    header.stamp.sec, header.stamp.nanosec = divmod(time.time_ns(), 10**9)
    return header


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    """Return as soon as the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f'did not become true within {seconds} s')
        time.sleep(0.002)
