"""Depth through the real node: obstacles, points, markers; whatever is wrong costs no answer."""

from __future__ import annotations

import math
import struct
import time

import cv2
from meta_ood_msgs.msg import OodObstacle, OodObstacleArray
from meta_ood_ros.messages.conversions import to_image
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, PointCloud2

from ..conftest import make_header, scene, wait_for

SIZE = (96, 128)
PICTURE = scene((60, 40, 20, 30))
K = [100.0, 0.0, 63.5, 0.0, 100.0, 47.5, 0.0, 0.0, 1.0]
OUTPUTS = ('ood/segments', 'ood/obstacles')
#: x and y of the middle of the unknown box at 1 m
RAY = ((40 + 69) / 2 - 63.5) / 100, ((60 + 79) / 2 - 47.5) / 100


def camera_info(**changes):
    info = CameraInfo(height=96, width=128, distortion_model='plumb_bob', k=K, d=[0.0] * 5)
    for name, value in changes.items():
        setattr(info, name, value)
    return info


def depth_image(header, metres=4.0, encoding='32FC1', size=SIZE):
    dtype = np.float32 if encoding == '32FC1' else np.uint16
    pixels = np.full(size, metres if encoding == '32FC1' else 1000 * metres).astype(dtype)
    message = to_image(header, pixels, ENCODED[encoding])
    message.encoding = encoding
    return message


#: the encodings that the node's own images have, with the same bytes
ENCODED = {'32FC1': '32FC1', '16UC1': 'mono16'}


class Rig:
    """A colour and a depth camera in front of the node, and a listener."""

    def __init__(self, robot, *, info=True, **parameters):
        self.robot = robot
        parameters = {'depth': ['image'], **parameters}
        robot.start(**parameters)
        self.colour = robot.camera()
        self.infos = robot.camera('camera_info', CameraInfo)
        uses_depth = parameters['depth'] == ['image']
        self.depth = robot.camera('depth') if uses_depth else None
        self.segments = robot.listen('ood/segments')
        self.obstacles = robot.listen('ood/obstacles', OodObstacleArray)
        self.facts = robot.diagnostics()
        ends = [self.colour, self.infos, *([self.depth] if uses_depth else [])]
        robot.connect(*ends, outputs=OUTPUTS)
        self.inbox = robot.node._session._cameras[''].outputs.obstacles.inbox
        if info:
            self.tell(camera_info())

    def tell(self, info):
        before = self.inbox._info
        self.infos.publish(info)
        wait_for(lambda: self.inbox._info is not before)

    def give(self, message):
        """Publish a depth image and wait until the node has it."""
        self.depth.publish(message)
        wait_for(lambda: message.header in [one.header for one in list(self.inbox._depths)])

    def ask(self, header, picture=PICTURE):
        """Publish a picture; return the obstacles of its answer."""
        count, answers = len(self.obstacles), len(self.segments)
        self.colour.publish(to_image(header, picture, 'rgb8'))
        wait_for(lambda: len(self.obstacles) > count and len(self.segments) > answers)
        assert self.segments[-1].header == header
        assert self.obstacles[-1].header == header
        return self.obstacles[-1]

    def complaint(self, text):
        """Wait until diagnostics say so."""
        wait_for(lambda: text in self.facts().message)


#: All stamps of a test lie in one second: images and depth are told apart by fractions of it.
NOW = int(time.time())


def at(seconds):
    header = make_header(round(1e9 * seconds))
    header.stamp.sec = NOW
    return header


@pytest.mark.parametrize('encoding', ['32FC1', '16UC1'])
@pytest.mark.parametrize('size', [SIZE, (48, 64), (192, 256)])
def test_a_segment_gets_its_place(robot, colour_network, encoding, size):
    rig = Rig(robot)
    header = at(0.001)
    rig.give(depth_image(header, 4.0, encoding, size))
    answer = rig.ask(header)
    assert (answer.placed, len(answer.obstacles)) == (1, 1)
    (found,) = answer.obstacles
    assert found.id == rig.segments[-1].segments[0].id
    assert found.source == OodObstacle.SOURCE_DEPTH
    position = (found.position.x, found.position.y, found.position.z)
    np.testing.assert_allclose(position, (4 * RAY[0], 4 * RAY[1], 4.0), atol=0.03)
    assert found.distance == pytest.approx(np.linalg.norm(position), rel=1e-5)
    assert found.extent.x == pytest.approx(30 * 4 / 100, abs=0.06)
    assert found.extent.y == pytest.approx(20 * 4 / 100, abs=0.06)
    assert found.depth_share == 1
    assert found.standard_deviation.z == pytest.approx(0.001)
    assert answer.depth_stamp == header.stamp
    wait_for(lambda: rig.facts().get('placed_frames') == '1')


def test_depth_of_the_nearest_stamp_is_taken_whichever_comes_first(robot, colour_network):
    rig = Rig(robot)
    colour_network.gate.clear()
    first = at(0.5)
    for offset, metres in ((0.48, 3.0), (0.51, 5.0)):
        rig.give(depth_image(at(offset), metres))
    frames = colour_network.frames
    rig.colour.publish(to_image(first, PICTURE, 'rgb8'))
    wait_for(lambda: colour_network.frames > frames)
    # the colour image is in the network when the better depth arrives
    rig.give(depth_image(at(0.502), 7.0))
    colour_network.gate.set()
    wait_for(lambda: rig.obstacles)
    assert rig.obstacles[-1].obstacles[0].position.z == pytest.approx(7.0)


def test_every_gap_is_one_sentence_and_every_answer_goes_out(robot, colour_network):
    rig = Rig(robot, info=False)

    def unplaced(header, sentence):
        answer = rig.ask(header)
        assert answer.placed == 0
        (obstacle,) = answer.obstacles
        assert obstacle.source == OodObstacle.SOURCE_NONE
        assert math.isnan(obstacle.position.z)
        assert math.isnan(obstacle.distance)
        rig.complaint(sentence)

    unplaced(at(0.001), 'No camera_info has arrived on /camera_info. Publish it, or remap')
    rig.tell(camera_info(k=[0.0] * 9))
    unplaced(at(0.002), 'K must be 9 finite numbers with focal lengths > 0')
    rig.tell(camera_info(height=480, width=640))
    unplaced(at(0.003), 'describes an image of 480 x 640 pixels, got one of 96 x 128')
    rig.tell(camera_info(d=[0.1] * 5, distortion_model='fancy'))
    unplaced(at(0.004), 'distortion_model must be one of plumb_bob')
    rig.tell(camera_info())
    unplaced(at(0.005), 'No depth image has arrived on /depth')
    late = at(0.3)
    rig.give(depth_image(late))
    unplaced(at(0.006), 'within 0.05 s of the image: the nearest is')
    other = depth_image(at(0.007))
    other.header.frame_id = 'depth_optical'
    rig.give(other)
    unplaced(at(0.007), "is in frame 'depth_optical', the image in 'camera_optical'")
    cut = depth_image(at(0.4))
    cut.data = cut.data[:-8]
    rig.give(cut)
    unplaced(at(0.4), 'depth image data must be step x height')
    bad = depth_image(at(0.45))
    bad.encoding = 'mono8'
    rig.give(bad)
    unplaced(at(0.45), "must have encoding 16UC1 or 32FC1, got 'mono8'")
    rig.give(depth_image(at(0.5), size=(96, 64)))
    unplaced(at(0.5), 'another shape than the image of 96 x 128')
    for number, hole in ((0.55, 0.0), (0.6, math.nan), (0.65, math.inf), (0.7, -1.0)):
        rig.give(depth_image(at(number), hole))
        unplaced(at(number), 'No accepted segment of the last frame has a place (no depth)')
    # and then all is well: the sentence is gone
    rig.give(depth_image(at(0.8)))
    assert rig.ask(at(0.8)).placed == 1
    wait_for(lambda: 'without place' not in rig.facts().message)
    facts = rig.facts()
    assert (facts['placed_frames'], facts['unplaced_frames']) == ('1', '14')
    assert facts['processed'] == '15'
    assert facts['dropped'] == '0'


def test_points_come_with_every_frame_empty_too(robot, colour_network):
    rig = Rig(robot, points_stride=2, max_range=5.0)
    points = robot.listen('ood/points', PointCloud2)
    robot.connect(outputs=('ood/points',))
    for number, (picture, metres) in enumerate(
        [(PICTURE, 4.0), (scene(), 4.0), (PICTURE, math.nan), (PICTURE, 6.0), (PICTURE, None)], 1
    ):
        header = at(0.1 * number)
        if metres is not None:
            rig.give(depth_image(header, metres))
        rig.ask(header, picture)
        wait_for(lambda number=number: len(points) == number)
        cloud = points[-1]
        assert cloud.header == header
        assert [field.name for field in cloud.fields] == ['x', 'y', 'z', 'id', 'ood_probability']
        assert (cloud.height, cloud.point_step, cloud.is_dense) == (1, 20, True)
        assert len(cloud.data) == cloud.row_step == 20 * cloud.width
        assert (cloud.width > 50) == (number == 1)
    table = np.frombuffer(points[0].data, '<f4').reshape(-1, 5)
    np.testing.assert_allclose(table[:, 2], 4.0)
    assert table[:, 0].mean() == pytest.approx(4 * RAY[0], abs=0.05)
    np.testing.assert_array_equal(table[:, 3].copy().view('<u4'), 1)


def test_on_the_ground_plane_no_depth_is_needed(robot, colour_network):
    rig = Rig(robot, depth=['ground_plane'], camera_height=[1.0])
    points = robot.listen('ood/points', PointCloud2)
    robot.connect(outputs=('ood/points',))
    (found,) = rig.ask(at(0.001)).obstacles
    assert found.source == OodObstacle.SOURCE_GROUND_PLANE
    # its lower edge is at row 79.5, 32 px below the horizon
    assert found.position.z == pytest.approx(100 / 32, rel=0.05)
    assert found.position.y == pytest.approx(1.0, rel=1e-3)
    assert math.isnan(found.extent.z)
    wait_for(lambda: points)
    table = np.frombuffer(points[0].data, '<f4').reshape(-1, 5)
    np.testing.assert_allclose(table[:, 2], found.position.z, rtol=1e-5)
    assert table[:, 1].max() <= 1.05
    assert table[:, 1].min() < 0.5


def test_markers_are_boxes_with_their_distance(robot, colour_network):
    msgs = pytest.importorskip('visualization_msgs.msg')
    rig = Rig(robot)
    markers = robot.listen('ood/markers', msgs.MarkerArray)
    robot.connect(outputs=('ood/markers',))
    header = at(0.001)
    rig.give(depth_image(header))
    rig.ask(header)
    wait_for(lambda: markers)
    clear, box, text = markers[0].markers
    assert clear.action == msgs.Marker.DELETEALL
    assert box.header == header
    assert box.type == msgs.Marker.CUBE
    assert box.pose.position.z == pytest.approx(4.0)
    assert box.scale.z == 0.05  # a flat thing can still be seen
    assert text.text == '4.1 m'


@pytest.mark.parametrize('encoding', ['16UC1', '32FC1'])
def test_compressed_depth_is_decoded(robot, colour_network, encoding):
    robot.start(depth=['image'], depth_transport='compressedDepth')
    colour, infos = robot.camera(), robot.camera('camera_info', CameraInfo)
    depth = robot.camera('depth/compressedDepth', CompressedImage)
    obstacles = robot.listen('ood/obstacles', OodObstacleArray)
    robot.connect(colour, infos, depth, outputs=('ood/obstacles',))
    inbox = robot.node._session._cameras[''].outputs.obstacles.inbox
    infos.publish(camera_info())
    header = at(0.001)
    a, b = 1000.0, 50.0
    stored = 4000 if encoding == '16UC1' else round(a / 4.0 + b)
    _, png = cv2.imencode('.png', np.full(SIZE, stored, np.uint16))
    message = CompressedImage(header=header, format=f'{encoding}; compressedDepth png')
    message.data = struct.pack('<iff', 0, a, b) + png.tobytes()
    depth.publish(message)
    wait_for(lambda: inbox._depths and inbox._info is not None)
    colour.publish(to_image(header, PICTURE, 'rgb8'))
    wait_for(lambda: obstacles)
    assert obstacles[0].obstacles[0].position.z == pytest.approx(4.0)


def test_depth_is_kept_only_while_somebody_wants_places(robot, colour_network):
    robot.start(depth=['image'])
    depth, segments = robot.camera('depth'), robot.listen('ood/segments')
    colour = robot.camera()
    robot.connect(depth, colour)
    for number in (1, 2, 3):
        depth.publish(depth_image(at(0.1 * number)))
    header = at(0.4)
    colour.publish(to_image(header, PICTURE, 'rgb8'))
    wait_for(lambda: segments)
    inbox = robot.node._session._cameras[''].outputs.obstacles.inbox
    assert not inbox._depths
    assert 'placed_frames' not in robot.diagnostics()()


def test_without_depth_there_are_no_such_topics(robot, colour_network):
    robot.start()
    names = [name for name, _ in robot.node.get_topic_names_and_types()]
    assert not {'/ood/obstacles', '/ood/points', '/depth', '/camera_info'} & set(names)


def test_cameras_may_differ(robot, colour_network):
    robot.start(cameras=['front', 'rear'], depth=['image', 'none'])
    obstacles = robot.listen('ood/front/obstacles', OodObstacleArray)
    robot.connect(outputs=('ood/front/obstacles',))
    assert robot.node.count_publishers('/ood/rear/obstacles') == 0
    front = robot.camera('front/image')
    robot.connect(front, outputs=())
    front.publish(to_image(at(0.001), PICTURE, 'rgb8'))
    wait_for(lambda: obstacles)
    assert obstacles[0].camera == 'front'


@pytest.mark.parametrize(
    ('parameters', 'sentence'),
    [
        ({'depth': ['stereo']}, "depth must be one of none, image, ground_plane, got 'stereo'"),
        ({'depth': ['image', 'none']}, 'depth must have one value or one for each of the 1'),
        ({'depth': ['ground_plane']}, 'camera_height must be greater than 0'),
        (
            {'depth': ['ground_plane'], 'camera_height': [1.0], 'camera_pitch': [5.0]},
            r'camera_pitch must lie within -pi/2..pi/2, got 5.0',
        ),
        (
            {'depth': ['ground_plane'], 'camera_height': [1.0], 'ground_frame': ['map']},
            'must be given once, by camera_height, ground_coefficients or ground_frame, got '
            "camera_height 1.0 and ground_frame 'map'",
        ),
        (
            {'depth': ['ground_plane'], 'ground_coefficients': [0.0, 1.0, 0.0]},
            'ground_coefficients must have 4 numbers or 4 for each of the 1 cameras, got 3',
        ),
        (
            {'depth': ['ground_plane'], 'ground_coefficients': [0.0, 0.0, 0.0, 1.0]},
            'a ground plane needs four finite numbers',
        ),
        (
            {'depth': ['ground_plane'], 'camera_height': [-1.0]},
            'camera_height must be greater than 0 for depth ground_plane, got -1.0',
        ),
    ],
)
def test_wrong_parameters_are_refused_in_one_sentence(robot, parameters, sentence):
    robot.start(active=False, **parameters)
    assert robot.do('configure') == 'failure'
    assert sentence in robot.node._error
    robot.node._error = ''
