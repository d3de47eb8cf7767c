"""The 3D outputs of one camera: where the accepted segments of a frame are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meta_ood_msgs.msg import OodObstacleArray
from meta_ood_ros.core.places import (
    CameraModel,
    GroundPlane,
    locate_in_depth,
    locate_on_ground,
    PlacedSegments,
    segment_points,
    Verdict,
)
from meta_ood_ros.core.result import OodResult
from meta_ood_ros.core.settings import NodeSettings
from meta_ood_ros.messages.obstacle_messages import (
    find_visualization_msgs,
    to_detections_3d,
    to_markers,
    to_obstacles,
    to_point_cloud,
)
from meta_ood_ros.messages.segment_messages import PublishedSegments
from meta_ood_ros.messages.vision_messages import find_vision_msgs
from meta_ood_ros.node.places.depth import decode_depth, DepthInbox, Topics
import numpy as np
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

#: Header of an image, tolerance [s] -> the ground in its frame; ValueError where that is unknown.
Ground = Callable[[Any, float], GroundPlane]


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The accepted segments of a frame that are published."""

    labels: np.ndarray
    boxes: np.ndarray
    ids: np.ndarray
    probability: np.ndarray


@dataclass(frozen=True, eq=False)
class _Found:
    """Places of a frame's segments, and the depth and camera that they rest on."""

    placed: PlacedSegments
    camera: CameraModel
    depth: np.ndarray
    stamp: Any


class ObstacleOutputs:
    """
    Places the accepted segments of a camera and publishes where they are.

    Nothing that happens here keeps an answer back: it is called when the segments are out, and
    a frame that cannot be placed is counted and explained.

    Parameters
    ----------
    ground : Ground or None
        Where the ground is, where that stands in for depth.
    create : callable
        Makes the publisher of a name and a type.
    explain : callable
        Gets the sentence that is true of the last frame, or ''.
    facts : dict of str to str
        Gets the counts for /diagnostics.

    """

    def __init__(
        self,
        camera: str,
        ground: Ground | None,
        topics: Topics,
        *,
        create: Callable[[str, type], Any],
        explain: Callable[[str], None],
        facts: dict[str, str],
    ) -> None:
        self.inbox = DepthInbox(topics)
        self._camera = camera
        self._ground = ground
        self._topics = topics
        self._explain = explain
        self._facts = facts
        self._counts = {'placed': 0, 'unplaced': 0}
        self._vision, self._visualization = find_vision_msgs(), find_visualization_msgs()
        self._publishers = {
            'obstacles': create('obstacles', OodObstacleArray),
            'points': create('points', PointCloud2),
        }
        if self._visualization is not None:
            self._publishers['markers'] = create('markers', self._visualization.MarkerArray)
        if self._vision is not None:
            self._publishers['detections_3d'] = create(
                'detections_3d', self._vision.Detection3DArray
            )

    def is_wanted(self) -> bool:
        """Return whether anybody listens to where segments are."""
        return bool(self._wanted())

    def _wanted(self) -> set[str]:
        publishers = self._publishers.items()
        return {name for name, one in publishers if one.get_subscription_count() > 0}

    def publish(
        self,
        result: OodResult,
        published: PublishedSegments,
        settings: NodeSettings,
        *,
        header: Header,
        class_id: int,
    ) -> None:
        """Send what is wanted about one frame, empty too; nothing that is wrong here is raised."""
        wanted = self._wanted()
        if not wanted:
            return
        rows = published.rows[result.accepted[published.rows]]
        chosen = _Chosen(
            result.segments.labels,
            result.summary.boxes[rows],
            (rows + 1).astype(np.int32),
            result.ood_probability[rows],
        )
        found, sentence = self._find(result, chosen, settings, header)
        self._note(found, sentence)
        message_ids = published.ids[rows + 1]
        obstacles = to_obstacles(
            header,
            message_ids.tolist(),
            chosen.probability.tolist(),
            found.placed if found else None,
            camera=self._camera,
            depth_stamp=found.stamp if found else None,
        )
        if 'obstacles' in wanted:
            self._publishers['obstacles'].publish(obstacles)
        if 'points' in wanted:
            points = self._points(chosen, found, settings)
            points['id'] = published.ids[points['id']]
            self._publishers['points'].publish(to_point_cloud(header, points))
        if 'markers' in wanted and self._visualization is not None:
            self._publishers['markers'].publish(to_markers(self._visualization, obstacles))
        if 'detections_3d' in wanted and self._vision is not None:
            detections = to_detections_3d(self._vision, obstacles, class_id=class_id)
            self._publishers['detections_3d'].publish(detections)

    def _find(
        self, result: OodResult, chosen: _Chosen, settings: NodeSettings, header: Header
    ) -> tuple[_Found | None, str]:
        try:
            found = self._place(result, chosen, settings, header)
        except ValueError as error:
            return None, str(error)
        except Exception as error:  # whatever it is: the answer without place goes out
            return None, f'places could not be computed. {type(error).__name__}: {error}'
        verdicts = set(found.placed.verdicts)
        if not verdicts or Verdict.PLACED in verdicts:
            return found, ''
        reasons = ', '.join(sorted(one.value for one in verdicts))
        return found, f'no accepted segment of the last frame has a place ({reasons}).'

    def _place(
        self, result: OodResult, chosen: _Chosen, settings: NodeSettings, header: Header
    ) -> _Found:
        camera = self.inbox.camera(result.image_size, result.work_size)
        labels, ids, boxes = chosen.labels, chosen.ids, chosen.boxes
        if self._ground is not None:
            plane = self._ground(header, settings.depth_tolerance)
            placed = locate_on_ground(
                labels, ids, boxes, plane, camera, max_range=settings.max_range
            )
            return _Found(placed, camera, _boards(labels, placed), None)
        message = self.inbox.take(header, settings.depth_tolerance)
        if len(ids):
            depth = decode_depth(message, result.image_size, self._topics.depth)
        else:
            depth = np.zeros((1, 1), np.float32)  # nothing asks for it
        placed = locate_in_depth(labels, ids, boxes, depth, camera)
        return _Found(placed, camera, depth, message.header.stamp)

    def _points(self, chosen: _Chosen, found: _Found | None, settings: NodeSettings) -> np.ndarray:
        depth = np.zeros((1, 1), np.float32) if found is None else found.depth
        camera = (
            CameraModel(chosen.labels.shape, np.eye(3), np.empty(0))
            if found is None
            else found.camera
        )
        none = slice(0, 0 if found is None else None)
        return segment_points(
            chosen.labels,
            chosen.ids[none],
            chosen.boxes[none],
            chosen.probability[none],
            depth,
            camera,
            stride=settings.points_stride,
            max_range=settings.max_range,
        )

    def _note(self, found: _Found | None, sentence: str) -> None:
        self._explain(sentence and f'{sentence[0].upper()}{sentence[1:]} '
                      'Segments go out without place.')  # fmt: skip
        self._counts['unplaced' if sentence else 'placed'] += 1
        for name, count in self._counts.items():
            self._facts[f'{name}_frames'] = str(count)
        if found is not None:
            placed = sum(one is Verdict.PLACED for one in found.placed.verdicts)
            self._facts['placed_segments'] = str(placed)


def _boards(labels: np.ndarray, placed: PlacedSegments) -> np.ndarray:
    """Return the depth of segments taken for upright boards at their feet; NaN elsewhere."""
    depths = np.full(int(labels.max(initial=0)) + 1, np.nan, np.float32)
    depths[placed.ids] = placed.positions[:, 2]
    return depths[labels]
