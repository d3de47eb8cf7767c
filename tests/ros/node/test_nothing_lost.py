"""In a default environment everything that the node answers arrives: real processes, real DDS."""

import os
import subprocess
import sys
import time

from meta_ood_ros.messages.conversions import to_image
from meta_ood_ros.node.shared_memory import explain_shared_memory
import numpy as np
import pytest
from sensor_msgs.msg import Image

from ..conftest import make_header, scene, wait_for

FRAMES = 12
SIZE = (720, 1280)  # its maps are larger than the shared memory that FastDDS takes by itself

#: Prints the stamps of the answers that it has got, when it is asked.
LISTENER = """
import sys, threading
import rclpy
from meta_ood_msgs.msg import OodSegmentArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('listener')
got = {'segments': [], 'semantic_ood': [], 'semantic': []}
types = {'segments': OodSegmentArray}
best_effort = {'semantic_ood'}  # as Nav2's layer does
for name, stamps in got.items():
    reliability = ReliabilityPolicy[
        'BEST_EFFORT' if name in best_effort else 'RELIABLE'
    ]
    node.create_subscription(
        types.get(name, Image),
        f'ood/{name}',
        lambda message, stamps=stamps: stamps.append(message.header.stamp.nanosec),
        QoSProfile(depth=10, reliability=reliability),
    )
asked = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), asked.set()), daemon=True).start()
print('ready', flush=True)
while not asked.is_set():
    rclpy.spin_once(node, timeout_sec=0.1)
print(got, flush=True)
"""


@pytest.fixture
def default_environment():
    """Return an environment in which nobody has chosen anything about FastDDS."""
    chosen = ('FASTDDS_DEFAULT', 'FASTRTPS_DEFAULT', 'FASTDDS_BUILTIN')
    return {name: one for name, one in os.environ.items() if not name.startswith(chosen)}


def test_every_answer_reaches_subscribers_without_a_profile(
    robot, bundle_folder, default_environment, tmp_path
):
    if explain_shared_memory():
        pytest.skip(explain_shared_memory())
    program = [sys.executable, '-m', 'meta_ood_ros.node.start_node', '--ros-args']
    values = {'bundle': bundle_folder, 'device': 'cpu', 'max_age': 0.0, 'diagnostics_period': 0.1}
    program += [word for pair in values.items() for word in ('-p', '{}:={}'.format(*pair))]
    log = tmp_path / 'node.log'
    with log.open('w') as file:
        node = subprocess.Popen(program, env=default_environment, stdout=file, stderr=file)
    listener = subprocess.Popen(
        [sys.executable, '-c', LISTENER],
        env=default_environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert listener.stdout.readline() == 'ready\n'
        facts = robot.diagnostics()
        camera = robot.camera()
        wait_for(lambda: facts().get('idle') == 'false', 60)
        wait_for(lambda: robot.peer.count_subscribers('/ood/semantic') == 1)
        wait_for(lambda: camera.get_subscription_count() == 1)
        time.sleep(1.0)  # the node has to find the listener and the camera, too
        picture = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
        for number in range(1, FRAMES + 1):
            camera.publish(to_image(make_header(number), picture, 'rgb8'))
            wait_for(lambda count=number: facts().get('processed') == str(count))
        time.sleep(0.5)
        listener.stdin.write('\n')
        listener.stdin.flush()
        wanted = list(range(1, FRAMES + 1))
        assert eval(listener.stdout.readline()) == dict.fromkeys(
            ('segments', 'semantic_ood', 'semantic'), wanted
        )
    finally:
        for process in (node, listener):
            process.kill()
            process.wait()
    assert 'FastDDS' not in log.read_text()


def test_large_answers_without_the_profile_are_said(robot, colour_network, monkeypatch):
    """In an executor of one's own, say, whose process was started without it."""
    monkeypatch.setattr('meta_ood_ros.node.shared_memory.has_profile', lambda _: False)
    monkeypatch.setattr('meta_ood_ros.node.shared_memory.explain_shared_memory', lambda: '')
    monkeypatch.setattr('meta_ood_ros.node.session.LARGE', 3 * 96 * 128)
    robot.start(diagnostics_period=0.1)
    facts, segments = robot.diagnostics(), robot.listen('ood/segments')
    robot.listen('ood/overlay', Image)
    camera = robot.camera()
    robot.connect(camera, outputs=['ood/segments', 'ood/overlay'])
    robot.ask(camera, scene(), segments)
    time.sleep(0.5)
    assert 'FastDDS' not in facts().message  # exactly as large as may be
    robot.listen('ood/semantic', Image)
    wait_for(lambda: robot.node.count_subscribers('/ood/semantic') == 1)
    robot.ask(camera, scene(), segments)
    wait_for(lambda: 'FastDDS loses parts of answers this large' in facts().message)
    assert 'fastdds_profile.xml' in facts().message
    assert facts().level == b'\x01'


def test_answers_wait_for_a_slow_subscriber(robot, colour_network):
    robot.start()
    publishers = robot.node._session._cameras[''].outputs._publishers
    kept = {name: one.qos_profile.depth for name, one in publishers.items()}
    many = {'segments', 'detections'} & set(kept)
    assert kept == {name: 10 if name in many else 1 for name in kept}
