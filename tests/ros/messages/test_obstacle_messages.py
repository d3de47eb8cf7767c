"""Obstacles for the rest of ROS, with and without vision_msgs and visualization_msgs."""

import math
from types import SimpleNamespace

from meta_ood_msgs.msg import OodObstacle
from meta_ood_ros.core.places import PlacedSegments, Verdict
from meta_ood_ros.messages.obstacle_messages import (
    to_detections_3d,
    to_markers,
    to_obstacles,
    to_point_cloud,
)
import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from .test_vision_messages import record

HEADER = Header(frame_id='optical')


def placed(source='depth'):
    positions = np.array([(1.0, 0.5, 4.0), (np.nan,) * 3])
    return PlacedSegments(
        source=source,
        ids=np.array([3, 5], np.int32),
        positions=positions,
        standard_deviations=0.1 * positions,
        extents=np.array([(0.6, 0.4, np.nan if source == 'ground_plane' else 0.2), (np.nan,) * 3]),
        depth_shares=np.array([0.75, 0.0]),
        distances=np.linalg.norm(positions, axis=1),
        verdicts=(Verdict.PLACED, Verdict.NO_DEPTH),
    )


def obstacles(source='depth'):
    return to_obstacles(HEADER, [3, 5], [0.9, math.nan], placed(source), camera='front')


def test_a_segment_without_place_is_told_so():
    message = deserialize_message(serialize_message(obstacles()), type(obstacles()))
    first, second = message.obstacles
    assert (message.header, message.camera, message.placed) == (HEADER, 'front', 1)
    assert (first.id, first.source) == (3, OodObstacle.SOURCE_DEPTH)
    assert (first.position.x, first.position.y, first.position.z) == (1.0, 0.5, 4.0)
    assert first.standard_deviation.z == pytest.approx(0.4)
    assert first.extent.y == pytest.approx(0.4)
    assert first.depth_share == 0.75
    assert first.ood_probability == pytest.approx(0.9)
    assert (second.id, second.source) == (5, OodObstacle.SOURCE_NONE)
    assert math.isnan(second.position.x)
    assert math.isnan(second.extent.z)
    assert math.isnan(second.distance)
    assert second.depth_share == 0


def test_without_depth_nothing_has_a_place():
    message = to_obstacles(HEADER, [3], [0.9], None)
    assert message.placed == 0
    assert message.obstacles[0].source == OodObstacle.SOURCE_NONE
    assert math.isnan(message.obstacles[0].depth_share)


def box_stand_in():
    vector = record(x=float, y=float, z=float)
    pose = record(position=vector, orientation=record(w=float))
    return SimpleNamespace(
        Detection3DArray=record(header=Header, detections=list),
        Detection3D=record(header=Header, results=list, id=str),
        BoundingBox3D=record(center=pose, size=vector),
        ObjectHypothesisWithPose=record(
            hypothesis=record(class_id=str, score=float),
            pose=record(pose=pose, covariance=lambda: [0.0] * 36),
        ),
    )


def marker_stand_in():
    vector = record(x=float, y=float, z=float)
    marker = record(
        header=Header, pose=record(position=vector, orientation=record(w=float)), scale=vector,
        color=record(r=float, g=float, b=float, a=float), lifetime=record(nanosec=int), text=str,
    )  # fmt: skip
    marker.ADD, marker.DELETEALL, marker.CUBE, marker.TEXT_VIEW_FACING = 0, 3, 1, 9
    return SimpleNamespace(MarkerArray=record(markers=list), Marker=marker)


@pytest.fixture(params=['stand-in', 'installed'])
def vision(request):
    if request.param == 'stand-in':
        return box_stand_in()
    return pytest.importorskip('vision_msgs.msg')


@pytest.fixture(params=['stand-in', 'installed'])
def visualization(request):
    if request.param == 'stand-in':
        return marker_stand_in()
    return pytest.importorskip('visualization_msgs.msg')


def test_detections_are_the_obstacles_with_a_place(vision):
    (one,) = to_detections_3d(vision, obstacles()).detections
    assert (one.id, one.header) == ('3', HEADER)
    assert (one.bbox.center.position.x, one.bbox.center.position.z) == (1.0, 4.0)
    assert (one.bbox.size.x, one.bbox.size.z) == pytest.approx((0.6, 0.2))
    assert one.bbox.center.orientation.w == 1.0
    result = one.results[0]
    assert (result.hypothesis.class_id, result.hypothesis.score) == ('ood', pytest.approx(0.9))
    assert result.pose.pose.position.z == 4.0
    covariance = np.reshape(result.pose.covariance, (6, 6))
    np.testing.assert_allclose(np.diag(covariance)[:3], (0.01, 0.0025, 0.16))


def test_on_the_ground_the_box_stands_on_the_foot(vision):
    (one,) = to_detections_3d(vision, obstacles('ground_plane')).detections
    assert one.bbox.center.position.y == pytest.approx(0.5 - 0.4 / 2)
    assert one.bbox.size.z == pytest.approx(0.6)  # not known: as deep as wide


def test_markers_replace_those_of_the_frame_before(visualization):
    clear, box, text = to_markers(visualization, obstacles()).markers
    assert clear.action == visualization.Marker.DELETEALL
    assert (box.ns, box.id, box.type) == ('box', 3, visualization.Marker.CUBE)
    assert (box.pose.position.x, box.pose.position.y) == (1.0, 0.5)
    assert text.text == f'{math.sqrt(1 + 0.25 + 16):.1f} m'
    assert text.pose.position.y < box.pose.position.y - 0.2
    assert len(to_markers(visualization, to_obstacles(HEADER, [], [], None)).markers) == 1


def test_a_point_cloud_holds_the_bytes_of_the_points():
    dtype = [('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('id', '<u4'), ('ood_probability', '<f4')]
    points = np.array([(1, 2, 3, 7, 0.5), (4, 5, 6, 8, np.nan)], dtype)
    message = to_point_cloud(HEADER, points)
    assert (message.width, message.height, message.row_step) == (2, 1, 40)
    assert bytes(message.data) == points.tobytes()
    assert [(one.name, one.offset, one.datatype) for one in message.fields] == [
        ('x', 0, 7), ('y', 4, 7), ('z', 8, 7), ('id', 12, 6), ('ood_probability', 16, 7),
    ]  # fmt: skip
    assert to_point_cloud(HEADER, points[:0]).width == 0
