"""The ground from tf2 and from coefficients, through the real node; tf2_ros is a stand-in."""

from __future__ import annotations

from types import ModuleType

from geometry_msgs.msg import TransformStamped
from meta_ood_msgs.msg import OodObstacle, OodObstacleArray
from meta_ood_ros.node.places.depth import seconds
import pytest
from rclpy.time import Time

from ..conftest import wait_for
from .test_obstacles import at, Rig

#: base_footprint (x forward, z up) in the frame of a level camera, 1 m above it
LEVEL = (0.5, -0.5, 0.5, 0.5)


def transform(stamp, y=1.0, rotation=LEVEL):
    found = TransformStamped()
    found.header.stamp = stamp
    found.transform.translation.y = y
    turned = found.transform.rotation
    turned.x, turned.y, turned.z, turned.w = rotation
    return found


class Tf2:
    """What the node uses of tf2_ros: the same names, exceptions and order of arguments."""

    def __init__(self):
        self.known = {}
        self.module = ModuleType('tf2_ros')
        self.listeners = 0
        tf2 = self

        class TransformException(Exception):  # noqa: N818 - its name
            pass

        class LookupException(TransformException):
            pass

        class ExtrapolationException(TransformException):
            pass

        class Buffer:
            def lookup_transform(self, target_frame, source_frame, time):
                found = tf2.known.get((target_frame, source_frame))
                if found is None:
                    raise LookupException(f'"{source_frame}" does not exist.')
                newest = Time.from_msg(found.header.stamp)
                if time.nanoseconds > newest.nanoseconds > 0:
                    raise ExtrapolationException('into the future')
                return found

            def clear(self):
                tf2.known.clear()

        class TransformListener:
            def __init__(self, buffer, node, *, spin_thread=True):
                assert isinstance(buffer, Buffer)
                assert not spin_thread
                tf2.listeners += 1

            def unregister(self):
                tf2.listeners -= 1

        for one in (
            TransformException, LookupException, ExtrapolationException, Buffer, TransformListener
        ):  # fmt: skip
            setattr(self.module, one.__name__, one)


@pytest.fixture
def tf2(monkeypatch):
    made = Tf2()
    monkeypatch.setitem(__import__('sys').modules, 'tf2_ros', made.module)
    return made


def check_level(found):
    """Check the place of a box that ends 32 px below the horizon of a camera 1 m high."""
    assert found.source == OodObstacle.SOURCE_GROUND_PLANE
    assert found.position.z == pytest.approx(100 / 32, rel=0.05)
    assert found.position.y == pytest.approx(1.0, rel=1e-3)


def test_tf2_knows_the_ground(robot, colour_network, tf2):
    rig = Rig(robot, depth=['ground_plane'], ground_frame=['base_footprint'])
    assert tf2.listeners == 1
    answer = rig.ask(at(0.1))
    assert answer.placed == 0
    rig.complaint("must know ground_frame 'base_footprint' in the frame 'camera_optical'")
    tf2.known['camera_optical', 'base_footprint'] = transform(at(0.2).stamp)
    check_level(rig.ask(at(0.2)).obstacles[0])
    # tf2 lags behind the image: a little is borne
    check_level(rig.ask(at(0.24)).obstacles[0])
    assert rig.ask(at(0.3)).placed == 0
    rig.complaint('within 0.05 s of the image, got a transform 0.1 s older')
    # a suspension moves: each image has its own ground
    tf2.known['camera_optical', 'base_footprint'] = transform(at(0.4).stamp, y=2.0)
    assert rig.ask(at(0.4)).obstacles[0].position.z == pytest.approx(200 / 32, rel=0.05)
    tf2.known['camera_optical', 'base_footprint'] = transform(at(0.5).stamp, y=-1.0)
    assert rig.ask(at(0.5)).placed == 0
    rig.complaint("'base_footprint' must lie below the camera, got 'camera_optical' -1 m above")
    assert seconds(rig.segments[-1].header.stamp) == seconds(at(0.5).stamp)
    robot.do('deactivate')
    robot.do('cleanup')
    assert tf2.listeners == 0


def test_without_tf2_ros_the_node_says_what_to_install(robot, colour_network, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'tf2_ros', None)
    robot.start(active=False, depth=['ground_plane'], ground_frame=['base_footprint'])
    assert robot.do('configure') == 'failure'
    assert 'needs tf2_ros, which cannot be loaded' in robot.node._error
    assert 'Install ros-<distribution>-tf2-ros-py, or give camera_height' in robot.node._error
    robot.node._error = ''


def test_cameras_share_one_listener(robot, colour_network, tf2):
    frames = {'cameras': ['front', 'rear'], 'ground_frame': ['base_footprint']}
    robot.start(depth=['ground_plane'], **frames)
    obstacles = robot.listen('ood/rear/obstacles', OodObstacleArray)
    robot.connect(outputs=('ood/rear/obstacles',))
    assert tf2.listeners == 1
    assert not obstacles


def test_a_clock_that_jumps_back_empties_tf2(robot, colour_network, tf2):
    robot.start(depth=['ground_plane'], ground_frame=['base_footprint'])
    tf2.known['camera_optical', 'base_footprint'] = transform(at(0.2).stamp)
    robot.node._session.clear()
    wait_for(lambda: not tf2.known)


def test_the_ground_may_be_four_numbers(robot, colour_network):
    rig = Rig(robot, depth=['ground_plane'], ground_coefficients=[0.0, 2.0, 0.0, -2.0])
    check_level(rig.ask(at(0.1)).obstacles[0])


def test_cameras_may_have_different_grounds(robot, colour_network, tf2):
    robot.start(
        cameras=['front', 'rear', 'top'],
        depth=['ground_plane'],
        camera_height=[1.0, 0.0, 0.0],
        ground_coefficients=[0.0] * 4 + [0.0, 1.0, 0.0, -3.0] + [0.0] * 4,
        ground_frame=['', '', 'base_footprint'],
    )
    tf2.known['camera_optical', 'base_footprint'] = transform(at(0.1).stamp, y=2.0)
    heights = {
        name: camera.outputs.obstacles._ground(at(0.1), 0.1).height
        for name, camera in robot.node._session._cameras.items()
    }
    assert heights == {'front': 1.0, 'rear': 3.0, 'top': pytest.approx(2.0)}
