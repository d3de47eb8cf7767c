"""Boxes and class names for the rest of ROS, with and without vision_msgs."""

import math
from types import SimpleNamespace

from meta_ood_msgs.msg import OodSegment, OodSegmentArray
from meta_ood_ros.messages.vision_messages import find_vision_msgs, to_detections, to_label_info
import pytest
from std_msgs.msg import Header

from ..conftest import scene, wait_for


def record(**defaults):
    """Return a message type of plain attributes, for machines without vision_msgs."""

    class Record(SimpleNamespace):
        def __init__(self, **values):
            fresh = {name: make() for name, make in defaults.items()}
            super().__init__(**(fresh | values))

    return Record


def stand_in():
    point = record(x=float, y=float)
    centre = record(position=point, theta=float)
    return SimpleNamespace(
        LabelInfo=record(header=Header, class_map=list, threshold=float),
        VisionClass=record(class_id=int, class_name=str),
        Detection2DArray=record(header=Header, detections=list),
        Detection2D=record(header=Header, results=list, bbox=None.__class__, id=str),
        BoundingBox2D=record(center=centre, size_x=float, size_y=float),
        ObjectHypothesisWithPose=record(hypothesis=record(class_id=str, score=float)),
    )


@pytest.fixture(params=['stand-in', 'installed'])
def msgs(request):
    if request.param == 'stand-in':
        return stand_in()
    return pytest.importorskip('vision_msgs.msg')


def test_class_names_and_ood_behind_them(msgs):
    message = to_label_info(msgs, Header(frame_id='x'), ['road', 'sky'], threshold=0.25)
    names = [(one.class_id, one.class_name) for one in message.class_map]
    assert names == [(0, 'road'), (1, 'sky'), (2, 'ood')]
    assert (message.threshold, message.header.frame_id) == (0.25, 'x')


def test_boxes_have_their_centre_between_their_outer_pixels(msgs):
    segment = OodSegment(id=7, ood_probability=0.75, score_mean=0.6)
    segment.roi.x_offset, segment.roi.y_offset = 10, 20
    segment.roi.width, segment.roi.height = 4, 5
    unjudged = OodSegment(id=9, ood_probability=math.nan, score_mean=0.5)
    unjudged.roi.width = unjudged.roi.height = 1
    array = OodSegmentArray(header=Header(frame_id='optical'), segments=[segment, unjudged])
    message = to_detections(msgs, array, class_id=19)
    assert message.header == array.header
    first, second = message.detections
    assert (first.bbox.center.position.x, first.bbox.center.position.y) == (11.5, 22.0)
    assert (first.bbox.size_x, first.bbox.size_y) == (4.0, 5.0)
    assert (first.id, first.header) == ('', array.header)
    assert first.results[0].hypothesis.score == 0.75
    assert second.results[0].hypothesis.score == 0.5
    assert second.bbox.center.position.x == 0.0


def test_class_of_detections_is_a_key_of_the_class_names(msgs):
    names = ['road', 'sky', 'tree']
    array = OodSegmentArray(segments=[OodSegment()])
    (detection,) = to_detections(msgs, array, class_id=len(names)).detections
    label_info = to_label_info(msgs, Header(), names, threshold=0.5)
    known = {str(one.class_id): one.class_name for one in label_info.class_map}
    assert known[detection.results[0].hypothesis.class_id] == 'ood'


def test_node_works_without_vision_msgs(robot, colour_network, monkeypatch):
    monkeypatch.setattr('meta_ood_ros.node.publishers.find_vision_msgs', lambda: None)
    node = robot.start()
    topics = dict(node.get_publisher_names_and_types_by_node('ood', '/'))
    assert '/ood/segments' in topics
    assert '/ood/label_info' not in topics
    assert '/ood/detections' not in topics


def test_class_names_are_told_again_when_the_threshold_changes(robot, colour_network, monkeypatch):
    told = []
    monkeypatch.setattr(
        'meta_ood_ros.node.publishers.CameraOutputs.publish_label_info',
        lambda _, *, meta_threshold: told.append(meta_threshold),
    )
    robot.start()
    assert told == [0.5]  # that of the bundle
    assert robot.set(meta_threshold=0.25) == ''
    wait_for(lambda: told == [0.5, 0.25])
    assert robot.set(overlay_alpha=0.25) == ''
    for transition in ('deactivate', 'activate'):
        assert robot.do(transition) == 'success'
    assert told == [0.5, 0.25, 0.25]


@pytest.mark.skipif(find_vision_msgs() is None, reason='vision_msgs is not installed')
def test_node_says_class_names_to_those_who_come_later(robot, colour_network):
    from rclpy.qos import DurabilityPolicy
    from vision_msgs.msg import Detection2DArray, LabelInfo

    robot.start()
    names = robot.listen(
        'ood/label_info', LabelInfo, durability=DurabilityPolicy.TRANSIENT_LOCAL, depth=1
    )
    wait_for(lambda: names)
    assert [one.class_name for one in names[0].class_map][-2:] == ['bicycle', 'ood']
    segments = robot.listen('ood/segments')
    boxes = robot.listen('ood/detections', Detection2DArray)
    camera = robot.camera()
    robot.connect(camera, outputs=['ood/segments', 'ood/detections'])
    answer = robot.ask(camera, scene((60, 40, 10, 20)), segments)
    wait_for(lambda: boxes)
    assert boxes[0].header == answer.header
    assert boxes[0].detections[0].bbox.center.position.x == 49.5
    for transition in ('deactivate', 'activate'):
        assert robot.do(transition) == 'success'
    late = robot.listen(
        'ood/label_info', LabelInfo, durability=DurabilityPolicy.TRANSIENT_LOCAL, depth=1
    )
    wait_for(lambda: late)
