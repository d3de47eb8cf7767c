"""A camera and a listener in this process, and the programs that answer them in others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
import json
import os
from pathlib import Path
import signal
import struct
import subprocess
import sys
import time
from typing import Any, NamedTuple

from meta_ood_ros.demo.node import prepare_environment
from meta_ood_ros.node.stopping import END_WITH
import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from benchmarks.node.process_memory import read_memory

REPOSITORY = Path(__file__).resolve().parents[2]
#: A program may take this long to be ready: a first start compiles kernels. In seconds.
START_SECONDS = 300.0
ANSWER_SECONDS = 30.0


@contextmanager
def private_network(*, profile: bool = True) -> Iterator[None]:
    """
    Give this process and its children a domain of their own.

    Parameters
    ----------
    profile : bool
        With our FastDDS profile, whose shared memory of 134 MB only a camera driver needs.

    """
    before = dict(os.environ)
    try:
        prepare_environment(None)
        if not profile:
            for name in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
                os.environ.pop(name, None)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Program:
    """A Python module that runs in a process of its own until `stop`."""

    def __init__(self, module: str, arguments: Sequence[str], *, log: Path) -> None:
        self._module = module
        self._log = log
        with log.open('wb') as file:
            self._process = subprocess.Popen(
                [sys.executable, '-m', module, *arguments],
                cwd=REPOSITORY,
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, END_WITH: str(os.getpid())},
            )

    def check(self) -> None:
        """Raise RuntimeError with its last words if it has ended."""
        if self._process.poll() is not None:
            words = self._log.read_text(errors='replace').strip()[-800:]
            raise RuntimeError(f'{self._module} must keep running, but it ended: {words}')

    def memory(self) -> dict[str, float]:
        """Return its resident memory in MB (10^6 bytes), the peak (VmHWM) among it."""
        return read_memory(Path(f'/proc/{self._process.pid}/status').read_text())

    def stop(self) -> None:
        """Interrupt it, and return when it has ended."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class Reply(NamedTuple):
    """An answer to a frame: milliseconds from its stamp to the arrival here, and its size."""

    milliseconds: float
    size: int


class Camera:
    """
    Publishes images and waits for the answer to each, all in the calling thread.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8
        RGB; every frame is this picture with a new stamp.

    """

    def __init__(self, image: np.ndarray) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node('benchmark', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
        height, width = image.shape[:2]
        self._message = Image(height=height, width=width, encoding='rgb8', step=3 * width)
        self._message.data.frombytes(np.ascontiguousarray(image).tobytes())
        self._publishers: dict[str, Any] = {}
        self._arrived: dict[tuple[int, int], tuple[int, int]] = {}

    def close(self) -> None:
        """Leave."""
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    @contextmanager
    def asking(
        self, topic: str, answer: str, kind: type, *, check: Callable[[], None]
    ) -> Iterator[Callable[[], Reply]]:
        """
        Yield a function that sends a frame and returns the reply to it, once that works.

        Parameters
        ----------
        answer : str
            Where the answers come; they carry the header of the image, and begin with it.

        """
        if topic not in self._publishers:
            self._publishers[topic] = self._node.create_publisher(Image, topic, self._qos)
        publisher = self._publishers[topic]
        # unparsed: what a listener does with an answer is no part of it
        listener = self._node.create_subscription(kind, answer, self._note, self._qos, raw=True)
        try:
            self._connect(publisher, answer, check)
            yield lambda: self._ask(publisher, ANSWER_SECONDS, check)
        finally:
            self._node.destroy_subscription(listener)

    def _connect(self, publisher: Any, answer: str, check: Callable[[], None]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            check()
            if publisher.get_subscription_count() and self._node.count_publishers(answer):
                try:  # both ends see each other from here, but perhaps not from there
                    self._ask(publisher, 3.0, check)
                    return
                except TimeoutError:
                    continue
            self._executor.spin_once(0.05)
        raise TimeoutError(f'{answer} must answer within {START_SECONDS:.0f} s, got nothing.')

    def _note(self, data: bytes) -> None:
        arrival = time.perf_counter_ns()
        # CDR: four bytes that name the byte order, then the header's stamp
        order = '<' if data[1] == 1 else '>'
        self._arrived[struct.unpack_from(f'{order}iI', data, 4)] = arrival, len(data)

    def _ask(self, publisher: Any, seconds: float, check: Callable[[], None]) -> Reply:
        self._arrived.clear()
        stamp = self._message.header.stamp
        stamp.sec, stamp.nanosec = key = divmod(time.time_ns(), 10**9)
        start = time.perf_counter_ns()  # the other clock may be set meanwhile
        publisher.publish(self._message)
        deadline = time.monotonic() + seconds
        while key not in self._arrived:
            if time.monotonic() > deadline:
                check()
                raise TimeoutError(
                    f'{publisher.topic_name} must be answered within {seconds:.0f} s, got nothing.'
                )
            self._executor.spin_once(0.1)
        arrival, size = self._arrived[key]
        return Reply((arrival - start) / 1e6, size)


class StageTimes:
    """The file in which the node of `ros_programs` writes the times of its frames."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def last(self) -> Mapping[str, float]:
        """
        Return the times of the newest frame, in milliseconds by stage.

        The line is written right after the frame is published: this waits for the first one that
        was not there at the call before.
        """
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            lines = self._path.read_text().splitlines(keepends=True) if self._path.exists() else []
            complete = [line for line in lines if line.endswith('\n')]
            if len(complete) > self._read:
                self._read = len(complete)
                return json.loads(complete[-1])
            time.sleep(0.001)
        raise TimeoutError(f'{self._path.name} must get a line for each frame, got no new one.')
