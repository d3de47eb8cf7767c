"""The outputs of one camera: publishers, and what they send about a frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meta_ood_msgs.msg import OodSegmentArray
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.result import OodResult
from meta_ood_ros.core.settings import NodeSettings
from meta_ood_ros.messages.pictures import PICTURES, Pictures
from meta_ood_ros.messages.segment_messages import choose_segments, to_segment_array
from meta_ood_ros.messages.vision_messages import find_vision_msgs, to_detections, to_label_info
from meta_ood_ros.node.places.obstacles import ObstacleOutputs
from meta_ood_ros.node.qos import output_events, output_qos
import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header

#: Of what is small and must not be lost, this many messages wait for a slow subscriber.
ANSWERS_KEPT = 10


class CameraOutputs:
    """Everything that the node publishes about one camera."""

    def __init__(
        self,
        node: LifecycleNode,
        camera: str,
        bundle: Bundle,
        *,
        explain: Callable[[str, str], None],
        obstacles: Callable[[Callable[[str, type], Any]], ObstacleOutputs] | None = None,
    ) -> None:
        self._node = node
        self._camera = camera
        self._bundle = bundle
        self._explain = explain
        self._palette = np.array(bundle.class_colors, np.uint8)
        self._publishers: dict[str, Any] = {}
        #: Bytes of the pictures of the last answer.
        self.picture_bytes = 0
        self._vision = find_vision_msgs()
        self.obstacles: ObstacleOutputs | None = None
        try:
            self._create('segments', OodSegmentArray, depth=ANSWERS_KEPT)
            for name in PICTURES:
                self._create(name, Image)
            if self._vision is not None:
                self._create('detections', self._vision.Detection2DArray, depth=ANSWERS_KEPT)
                self._create('label_info', self._vision.LabelInfo, latched=True)
            if obstacles is not None:
                self.obstacles = obstacles(self._create)
        except Exception:
            self.destroy()
            raise

    def _create(
        self, name: str, message_type: type, *, depth: int = 1, latched: bool = False
    ) -> Any:
        prefix = f'~/{self._camera}/' if self._camera else '~/'
        topic = prefix + name
        self._publishers[name] = self._node.create_lifecycle_publisher(
            message_type,
            topic,
            output_qos(depth=depth, latched=latched),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            event_callbacks=output_events(self._node.resolve_topic_name(topic), self._explain),
        )
        return self._publishers[name]

    def destroy(self) -> None:
        """Take all publishers away."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers = {}

    def is_wanted(self) -> bool:
        """Return whether anybody listens to anything about frames."""
        return any(self._has_subscriber(name) for name in self._publishers if name != 'label_info')

    def publish_label_info(self, *, meta_threshold: float) -> None:
        """Send the class names to whoever listens or will; call it when active."""
        if self._vision is None:
            return
        header = Header(stamp=self._node.get_clock().now().to_msg())
        self._publishers['label_info'].publish(
            to_label_info(self._vision, header, self._bundle.class_names, threshold=meta_threshold)
        )

    def publish(
        self,
        result: OodResult,
        settings: NodeSettings,
        *,
        header: Header,
        image: np.ndarray,
    ) -> None:
        """
        Send everything that is wanted about one frame, the segments always and first.

        Parameters
        ----------
        image : ndarray of shape (H, W, 3), uint8
            The received image, RGB.

        """
        published = choose_segments(
            result,
            publish_rejected=settings.publish_rejected,
            max_segments=settings.max_segments,
        )
        segments = to_segment_array(
            result,
            published,
            settings,
            header=header,
            camera=self._camera,
            model_id=self._bundle.model_id,
            class_names=self._bundle.class_names,
        )
        self._publishers['segments'].publish(segments)
        ood_id = len(self._bundle.class_names)
        if self._vision is not None and self._has_subscriber('detections'):
            self._publishers['detections'].publish(
                to_detections(self._vision, segments, class_id=ood_id)
            )
        if self.obstacles is not None:
            self.obstacles.publish(result, published, settings, header=header, class_id=ood_id)
        pictures = Pictures(
            result,
            published,
            image=image,
            palette=self._palette,
            overlay_alpha=settings.overlay_alpha,
        )
        size = 0
        for name in PICTURES:
            if self._has_subscriber(name):
                message = pictures.make(name, header)
                size += len(message.data)
                self._publishers[name].publish(message)
        self.picture_bytes = size

    def _has_subscriber(self, name: str) -> bool:
        return self._publishers[name].get_subscription_count() > 0
