"""The FastDDS profile in a camera driver's environment carries images that are lost without it."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys

import meta_ood_ros
from meta_ood_ros.node.shared_memory import profile_variable
import pytest

PROFILE = Path(meta_ood_ros.__file__).with_name('fastdds_profile.xml')
IMAGES = 10
TOPIC = 'large_images'

COMMON = """
import array, sys, time
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
count = int(sys.argv[1])
qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
rclpy.init()
"""
DRIVER = f"""{COMMON}
node = rclpy.create_node('driver')
publisher = node.create_publisher(Image, '{TOPIC}', qos)
pixels = array.array('B', bytes(range(256)) * (2048 * 1024 * 3 // 256))
image = Image(height=1024, width=2048, encoding='rgb8', step=2048 * 3, data=pixels)
deadline = time.monotonic() + 120
while publisher.get_subscription_count() == 0 and time.monotonic() < deadline:
    time.sleep(0.02)
# Until the listener has enough and leaves.
for _ in range(300):
    if publisher.get_subscription_count() == 0:
        break
    publisher.publish(image)
    time.sleep(0.1)
"""
LISTENER = f"""{COMMON}
node = rclpy.create_node('listener')
received = []
node.create_subscription(Image, '{TOPIC}', lambda image: received.append(len(image.data)), qos)
deadline = time.monotonic() + 60
while len(received) < count and time.monotonic() < deadline:
    rclpy.spin_once(node, timeout_sec=0.1)
print(sum(size == 2048 * 1024 * 3 for size in received))
"""


def test_best_effort_images_of_six_megabytes_arrive_when_only_the_driver_has_the_profile():
    free = os.statvfs('/dev/shm')
    if free.f_bavail * free.f_frsize < 256 * 2**20:
        pytest.skip('less than 256 MB of /dev/shm: start the container with --shm-size=1g')
    environment = {**os.environ, 'RMW_IMPLEMENTATION': 'rmw_fastrtps_cpp'}
    for generation in ('FASTDDS', 'FASTRTPS'):
        environment.pop(f'{generation}_DEFAULT_PROFILES_FILE', None)
    with_profile = {**environment, profile_variable(environment): str(PROFILE)}
    programs = {DRIVER: with_profile, LISTENER: environment}
    driver, listener = (
        subprocess.Popen(
            [sys.executable, '-c', program, str(IMAGES)],
            env=its_environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for program, its_environment in programs.items()
    )
    try:
        output, errors = listener.communicate(timeout=150)
        assert driver.wait(timeout=150) == 0, driver.stderr.read()
    finally:
        driver.kill()
        listener.kill()
    # Without the profile 1 of 300 arrived.
    assert int(output) >= IMAGES, errors


def test_profile_says_the_variables_of_both_generations():
    text = PROFILE.read_text()
    assert 'FASTDDS_DEFAULT_PROFILES_FILE' in text
    assert 'FASTRTPS_DEFAULT_PROFILES_FILE' in text
