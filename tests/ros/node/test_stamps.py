"""What is said about stamps and clocks: only what is wrong with them."""

import time

from meta_ood_ros.messages.conversions import to_image
import pytest
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header

from ..conftest import scene, wait_for


def stamped(seconds):
    """Return a header with a stamp."""
    header = Header(frame_id='camera')
    header.stamp.sec, nanoseconds = divmod(round(1e9 * seconds), 10**9)
    header.stamp.nanosec = nanoseconds
    return header


def answer(robot, camera, segments, seconds):
    """Send an image with a stamp and wait for its answer."""
    before = len(segments)
    camera.publish(to_image(stamped(seconds), scene(), 'rgb8'))
    wait_for(lambda: len(segments) > before)


@pytest.mark.parametrize(
    ('ahead', 'is_wrong'),
    [(0.005, False), (0.9, False), (30.0, True), (-9.0, False), (-11.0, True)],
)
def test_stamps_a_second_ahead_are_those_of_clocks_that_agree(
    robot, colour_network, ahead, is_wrong
):
    robot.start(diagnostics_period=0.1)
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    camera = robot.camera()
    robot.connect(camera)
    answer(robot, camera, segments, time.time() + ahead)
    wait_for(lambda: 'stamp_age_s' in facts())
    wait_for(
        lambda: ('stamps are from the future or more than 10 s' in facts().message) == is_wrong
    )
    assert facts().level == (b'\x01' if is_wrong else b'\x00')


@pytest.mark.parametrize('sim_time', [False, True])
def test_driver_without_stamps_is_named(robot, colour_network, sim_time):
    robot.start(diagnostics_period=0.1, use_sim_time=sim_time)
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    camera = robot.camera()
    robot.connect(camera)
    answer(robot, camera, segments, 0)
    wait_for(lambda: 'Camera: the driver sets no stamp.' in facts().message)
    assert 'from the future' not in facts().message
    answer(robot, camera, segments, time.time())
    wait_for(lambda: 'sets no stamp' not in facts().message)


def test_simulated_time_that_nobody_tells_is_said_until_somebody_does(robot, colour_network):
    robot.start(diagnostics_period=0.1, use_sim_time=True)
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    sentence = 'use_sim_time is set, but no time has come on /clock.'
    wait_for(lambda: sentence in facts().message)
    assert facts().level == b'\x01'
    camera = robot.camera()
    robot.connect(camera)
    answer(robot, camera, segments, 1000.0)
    time.sleep(0.3)
    assert 'from the future' not in facts().message  # the clock is what is wrong
    clock = robot.peer.create_publisher(Clock, '/clock', 1)
    wait_for(lambda: clock.get_subscription_count() == 1)
    clock.publish(Clock(clock=stamped(1001.0).stamp))
    wait_for(lambda: sentence not in facts().message)
    answer(robot, camera, segments, 1000.5)
    wait_for(lambda: float(facts().get('stamp_age_s', -1)) == 0.5)
    assert facts().level == b'\x00'
