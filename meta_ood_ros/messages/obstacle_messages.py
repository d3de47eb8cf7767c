"""Where segments are -> messages that a planner or RViz reads."""

from __future__ import annotations

from collections.abc import Sequence
import math
import sys
from types import ModuleType
from typing import Any

from meta_ood_msgs.msg import OodObstacle, OodObstacleArray
from meta_ood_ros.core.places import PlacedSegments, Verdict
from meta_ood_ros.messages.vision_messages import OOD_NAME
import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

_SOURCES = {'depth': OodObstacle.SOURCE_DEPTH, 'ground_plane': OodObstacle.SOURCE_GROUND_PLANE}
_POINT_FIELDS = (
    ('x', PointField.FLOAT32), ('y', PointField.FLOAT32), ('z', PointField.FLOAT32),
    ('id', PointField.UINT32), ('ood_probability', PointField.FLOAT32),
)  # fmt: skip
_LEAST_EDGE = 0.05  # m; of a marker, so that it can be seen
_MARKER_LIFE = 0.5  # s


def find_visualization_msgs() -> ModuleType | None:
    """Return the module visualization_msgs.msg, or None where it is not installed."""
    try:
        import visualization_msgs.msg
    except ImportError:
        return None
    return visualization_msgs.msg


def to_obstacles(
    header: Header,
    ids: Sequence[int],
    probabilities: Sequence[float],
    placed: PlacedSegments | None,
    *,
    camera: str = '',
    depth_stamp: Any = None,
) -> OodObstacleArray:
    """Return the message about accepted segments; without `placed` none has a position."""
    message = OodObstacleArray(header=header, camera=camera)
    if depth_stamp is not None:
        message.depth_stamp = depth_stamp
    for k, (number, probability) in enumerate(zip(ids, probabilities, strict=True)):
        obstacle = OodObstacle(id=int(number), ood_probability=float(probability))
        _fill(obstacle, placed, k)
        message.placed += obstacle.source != OodObstacle.SOURCE_NONE
        message.obstacles.append(obstacle)
    return message


def _fill(obstacle: OodObstacle, placed: PlacedSegments | None, k: int) -> None:
    vectors = (obstacle.position, obstacle.standard_deviation, obstacle.extent)
    values = [(math.nan,) * 3] * 3
    obstacle.distance = obstacle.depth_share = math.nan
    if placed is not None:
        obstacle.depth_share = float(placed.depth_shares[k])
        if placed.verdicts[k] is Verdict.PLACED:
            obstacle.source = _SOURCES[placed.source]
            obstacle.distance = float(placed.distances[k])
            tables = (placed.positions, placed.standard_deviations, placed.extents)
            values = [tuple(table[k].tolist()) for table in tables]
    for vector, xyz in zip(vectors, values, strict=True):
        vector.x, vector.y, vector.z = xyz


def to_point_cloud(header: Header, points: np.ndarray) -> PointCloud2:
    """Return the message of the points of `segment_points`; there may be none."""
    message = PointCloud2(
        header=header,
        height=1,
        width=len(points),
        is_bigendian=sys.byteorder == 'big',
        point_step=points.dtype.itemsize,
        row_step=points.nbytes,
        is_dense=True,
    )
    message.fields = [
        PointField(name=name, offset=4 * index, datatype=kind, count=1)
        for index, (name, kind) in enumerate(_POINT_FIELDS)
    ]
    # the array that the message was born with: an assignment would copy element by element
    message.data.frombytes(points.tobytes())
    return message


def to_markers(msgs: ModuleType, obstacles: OodObstacleArray) -> Any:
    """Return a box and a text for each obstacle with a position; older ones are deleted."""
    message = msgs.MarkerArray()
    message.markers.append(msgs.Marker(header=obstacles.header, action=msgs.Marker.DELETEALL))
    for obstacle in obstacles.obstacles:
        if obstacle.source == OodObstacle.SOURCE_NONE:
            continue
        for kind, space in ((msgs.Marker.CUBE, 'box'), (msgs.Marker.TEXT_VIEW_FACING, 'distance')):
            marker = msgs.Marker(
                header=obstacles.header, ns=space, id=obstacle.id, type=kind,
                action=msgs.Marker.ADD,
            )  # fmt: skip
            marker.pose.position.x = obstacle.position.x
            marker.pose.position.y = _middle_height(obstacle)
            marker.pose.position.z = obstacle.position.z
            marker.pose.orientation.w = 1.0
            marker.scale.x, marker.scale.y, marker.scale.z = _edges(obstacle)
            marker.color.r, marker.color.g, marker.color.b = 0.9, 0.1, 0.1
            marker.color.a = 0.5
            marker.lifetime.nanosec = int(1e9 * _MARKER_LIFE)
            if kind == msgs.Marker.TEXT_VIEW_FACING:
                marker.pose.position.y -= marker.scale.y / 2 + 0.15
                marker.text = f'{obstacle.distance:.1f} m'
                marker.scale.z = 0.25
                marker.color.a = 1.0
            message.markers.append(marker)
    return message


def to_detections_3d(msgs: ModuleType, obstacles: OodObstacleArray) -> Any:
    """Return the obstacles with a position as boxes of vision_msgs; score is P(true OoD)."""
    message = msgs.Detection3DArray(header=obstacles.header)
    for obstacle in obstacles.obstacles:
        if obstacle.source == OodObstacle.SOURCE_NONE:
            continue
        box, hypothesis = msgs.BoundingBox3D(), msgs.ObjectHypothesisWithPose()
        box.center.position.x = obstacle.position.x
        box.center.position.y = _middle_height(obstacle)
        box.center.position.z = obstacle.position.z
        box.center.orientation.w = 1.0
        box.size.x, box.size.y, box.size.z = _edges(obstacle)
        hypothesis.hypothesis.class_id = OOD_NAME
        judged = not math.isnan(obstacle.ood_probability)
        hypothesis.hypothesis.score = obstacle.ood_probability if judged else 1.0
        hypothesis.pose.pose = box.center
        deviation = obstacle.standard_deviation
        # rows and columns x, y, z and three angles, of which nothing is known
        for index, value in zip((0, 7, 14), (deviation.x, deviation.y, deviation.z), strict=True):
            hypothesis.pose.covariance[index] = value**2
        message.detections.append(
            msgs.Detection3D(
                header=obstacles.header, results=[hypothesis], bbox=box, id=str(obstacle.id)
            )
        )
    return message


def _edges(obstacle: OodObstacle) -> tuple[float, float, float]:
    """Return the edges of a box that can be drawn: what is not known is as deep as wide."""
    extent = obstacle.extent
    deep = extent.x if math.isnan(extent.z) else extent.z
    x, y, z = (max(edge, _LEAST_EDGE) for edge in (extent.x, extent.y, deep))
    return x, y, z


def _middle_height(obstacle: OodObstacle) -> float:
    """Return y of the middle: a position on the ground is that of the foot."""
    if obstacle.source == OodObstacle.SOURCE_GROUND_PLANE:
        return obstacle.position.y - obstacle.extent.y / 2
    return obstacle.position.y
