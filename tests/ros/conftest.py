"""A node under test with drivers and listeners around it, all of them real ROS 2."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time

from diagnostic_msgs.msg import DiagnosticArray
from meta_ood_msgs.msg import OodSegmentArray
from meta_ood_ros.core.backends import Choice
from meta_ood_ros.core.bundle_files import save_bundle
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.messages.conversions import to_image
from meta_ood_ros.node.ood_node import OodNode
import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header
import torch

# Before rclpy is initialised: a domain of this test run's own, on this machine only.
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('ROS_DOMAIN_ID', str(40 + os.getpid() % 60))

#: Colours that the stand-in network knows, and one that it does not.
ROAD, SKY, UNKNOWN = (30, 120, 30), (40, 60, 220), (250, 20, 20)
#: A colour on which it breaks down.
NOT_A_NUMBER = (255, 255, 255)


@pytest.fixture(scope='session', autouse=True)
def own_cache(tmp_path_factory):
    """Keep engines and the choices of backend auto for these tests, apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
        yield


@pytest.fixture(scope='session', autouse=True)
def no_leftovers(repository):
    """Remove the shared memory of processes that were killed in earlier runs, and in this one."""
    sweep = ['make', '--silent', 'leftovers'] if shutil.which('make') else ['true']
    subprocess.run(sweep, cwd=repository, check=True)
    yield
    subprocess.run(sweep, cwd=repository, check=True)


class ColourBackend:
    """
    A network whose answer is known: green is road, blue is sky, red is equally much of all.

    Logits have the size of the input, so that nothing is interpolated.
    """

    name, precision, device = 'eager', 'fp32', torch.device('cpu')

    def __init__(self, bundle, gate):
        self.calls = 0
        self.batches = []
        self._gate = gate
        self._mean = torch.tensor(bundle.input_mean).view(1, 3, 1, 1)
        self._std = torch.tensor(bundle.input_std).view(1, 3, 1, 1)

    def __call__(self, x):
        self.calls += 1
        self.batches.append(len(x))
        assert self._gate.wait(60)
        rgb = x * self._std + self._mean
        logits = torch.zeros(len(x), 19, *x.shape[2:])
        unknown = (rgb[:, 0] > 0.5) & (rgb[:, 1] < 0.5)
        logits[:, 0] = torch.where(unknown, 0.0, 30.0 * (rgb[:, 1] > rgb[:, 2]))
        logits[:, 10] = torch.where(unknown, 0.0, 30.0 * (rgb[:, 1] <= rgb[:, 2]))
        return logits.masked_fill((rgb > 0.99).all(1, keepdim=True), torch.nan)

    def prepare(self, size, *, batch=1):
        """Nothing to be made ready."""


class ColourNetwork:
    """Holds up the network while its gate is closed: no test need guess how slow it is."""

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.backends = []

    @property
    def frames(self):
        """Return how many frames the network has begun, the one tried while configuring aside."""
        return sum(one.calls - 1 for one in self.backends)


@pytest.fixture
def colour_network(monkeypatch):
    """Let nodes of this process run the network that knows colours; tests may hold it up."""
    network = ColourNetwork()

    class ColourPipeline(OodPipeline):
        def __init__(self, bundle=None, *args, **kwargs):
            super().__init__(bundle, *args, **kwargs)
            self.backend = ColourBackend(self.bundle, network.gate)
            network.backends.append(self.backend)

    def choose(first, *_, **__):
        return Choice(first)

    monkeypatch.setattr('meta_ood_ros.node.loading.OodPipeline', ColourPipeline)
    monkeypatch.setattr('meta_ood_ros.node.loading.choose_backend', choose)
    yield network
    network.gate.set()


@pytest.fixture(scope='session')
def bundle_folder(tiny_bundle, tmp_path_factory):
    """Return the folder of a small bundle without meta classifier: it accepts all."""
    from dataclasses import replace

    folder = tmp_path_factory.mktemp('bundles') / 'tiny'
    save_bundle(replace(tiny_bundle, meta_classifiers=()), folder)
    return folder


def scene(*boxes, size=(96, 128)):
    """Return a picture of sky above road with unknown boxes (row, column, height, width)."""
    picture = np.empty((*size, 3), np.uint8)
    picture[: size[0] // 3], picture[size[0] // 3 :] = SKY, ROAD
    for row, column, height, width in boxes:
        picture[row : row + height, column : column + width] = UNKNOWN
    return picture


def make_header(number, frame_id='camera_optical'):
    """Return a header whose stamp is the present plus a number of nanoseconds to know it by."""
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = int(time.time()), number
    return header


class Robot:
    """The node under test, and another that plays its cameras and listens to it."""

    def __init__(self, bundle_folder):
        self._bundle_folder = str(bundle_folder)
        self.context = Context()
        rclpy.init(context=self.context)
        self._executors = []
        self._threads = []
        self.peer = rclpy.create_node('peer', context=self.context)
        self._spin(self.peer)
        self.node = None
        self._number = 0

    def _spin(self, node):
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(node)

        def spin():
            try:
                executor.spin()
            except Exception:
                if self.context.ok():
                    raise

        thread = threading.Thread(target=spin, daemon=True)
        thread.start()
        self._executors.append(executor)
        self._threads.append(thread)
        return executor

    def start(self, *, namespace=None, arguments=(), active=True, **parameters):
        """Make the node and, unless told otherwise, configure and activate it."""
        parameters = {'bundle': self._bundle_folder, 'device': 'cpu', **parameters}
        self.node = OodNode(
            context=self.context,
            namespace=namespace,
            cli_args=['--ros-args', *arguments] if arguments else None,
            parameter_overrides=[Parameter(name, value=one) for name, one in parameters.items()],
        )
        self._executor = self._spin(self.node)
        if active:
            assert self.do('configure') == 'success'
            assert self.do('activate') == 'success'
        return self.node

    def do(self, transition):
        """Have the node's own executor make a transition; return how it ended."""
        return self.call(getattr(self.node, f'trigger_{transition}')).to_label()[11:]

    def call(self, function, *arguments):
        """Run a function in the node's executor and return what it returns."""
        future = self._executor.create_task(function, *arguments)
        wait_for(future.done, 60)
        return future.result()

    def set(self, **parameters):
        """Set parameters as a client would; return the reason of a refusal, or ''."""
        changes = [Parameter(name, value=one) for name, one in parameters.items()]
        results = self.call(self.node.set_parameters, changes)
        return ' '.join(result.reason for result in results if not result.successful)

    def listen(self, topic, message_type=OodSegmentArray, **qos):
        """Collect what is published on a topic; returns the list that grows."""
        received = []
        profile = QoSProfile(**{'depth': 50, **qos})
        self.peer.create_subscription(message_type, topic, received.append, profile)
        return received

    def camera(self, topic='image', message_type=Image, *, best_effort=False):
        """Return a publisher of images."""
        reliability = ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE
        return self.peer.create_publisher(
            message_type, topic, QoSProfile(depth=1, reliability=reliability)
        )

    def connect(self, *publishers, outputs=('ood/segments',)):
        """Wait until the node has found its cameras and its subscribers."""
        wait_for(lambda: all(one.get_subscription_count() for one in publishers))
        wait_for(lambda: all(self.node.count_subscribers(f'/{one}') for one in outputs))

    def send(self, publisher, picture, *, frame_id='camera_optical'):
        """Publish an RGB picture; returns its header."""
        self._number += 1
        message = to_image(make_header(self._number, frame_id), picture, 'rgb8')
        publisher.publish(message)
        return message.header

    def ask(self, publisher, picture, answers, **options):
        """Publish a picture and return the answer to it, the next of `answers`."""
        before = len(answers)
        header = self.send(publisher, picture, **options)
        wait_for(lambda: len(answers) > before)
        assert answers[-1].header == header
        return answers[-1]

    def diagnostics(self):
        """Collect diagnostics; returns a function that gives the latest facts of a camera."""
        arrays = self.listen('/diagnostics', DiagnosticArray)

        def facts(camera='image'):
            for array in reversed(arrays):
                for status in array.status:
                    if status.name.endswith(f': {camera}'):
                        return Facts(status)
            return Facts(None)

        facts.arrays = arrays
        return facts

    def close(self):
        """Take everything down."""
        if self.node is not None:
            self.call(self.node.destroy_node)
        self.peer.destroy_node()
        self.context.try_shutdown()
        for thread in self._threads:
            thread.join(5)


class Facts(dict):
    """Key -> value of one diagnostic status."""

    def __init__(self, status):
        super().__init__({one.key: one.value for one in status.values} if status else {})
        self.level = status.level if status else None
        self.message = status.message if status else ''


def wait_for(condition, seconds=30.0):
    """Return as soon as the condition holds; fail if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f'did not become true within {seconds} s'
        time.sleep(0.005)


@pytest.fixture
def robot(bundle_folder):
    """Return the node under test and its surroundings."""
    made = Robot(bundle_folder)
    yield made
    made.close()
