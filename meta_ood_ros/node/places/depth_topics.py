"""The topics of a camera's depth: where they are, and who is told what arrives on them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from meta_ood_ros.core.kernels.warm_up import warm_up_depth
from meta_ood_ros.core.places import GroundPlane
from meta_ood_ros.core.settings import NodeSettings
from meta_ood_ros.node.places.depth import DepthInbox, Topics
from meta_ood_ros.node.places.ground_frame import GroundFrames
from meta_ood_ros.node.places.obstacles import Ground, ObstacleOutputs
from meta_ood_ros.node.qos import ImageSubscription
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image


def depth_topics(node: Node, camera: str, settings: NodeSettings) -> Topics:
    """Return the names behind all remappings."""
    prefix = f'{camera}/' if camera else ''
    depth = node.resolve_topic_name(prefix + 'depth')
    if settings.depth_transport != 'raw':
        # Behind the remapping, as for image.
        depth = f'{depth}/{settings.depth_transport}'
    return Topics(depth=depth, camera_info=node.resolve_topic_name(prefix + 'camera_info'))


def obstacle_maker(
    node: Node,
    camera: str,
    settings: NodeSettings,
    *,
    frames: Callable[[], GroundFrames],
    explain: Callable[[str], None],
    facts: dict[str, str],
) -> Callable[[Callable[[str, type], Any]], ObstacleOutputs] | None:
    """Return what makes the 3D outputs of a camera, or None where it has none."""
    number = settings.cameras.index(camera)
    source = settings.for_camera('depth', number)
    if source == 'none':
        return None
    ground = _find_ground(settings, number, frames) if source == 'ground_plane' else None
    topics = depth_topics(node, camera, settings)
    warm_up_depth()

    def make(create: Callable[[str, type], Any]) -> ObstacleOutputs:
        return ObstacleOutputs(camera, ground, topics, create=create, explain=explain, facts=facts)

    return make


def _find_ground(
    settings: NodeSettings, number: int, frames: Callable[[], GroundFrames]
) -> Ground:
    """Return what tells the ground under a camera: always the same, or as tf2 knows it."""
    frame = settings.for_camera('ground_frame', number)
    if frame:
        return partial(frames().plane, frame)
    coefficients = settings.for_camera('ground_coefficients', number)
    if any(coefficients):
        plane = GroundPlane.from_coefficients(*coefficients)
    else:
        mounting = (
            settings.for_camera(f'camera_{name}', number) for name in ('height', 'pitch', 'roll')
        )
        plane = GroundPlane.from_mounting(*mounting)
    return lambda header, tolerance: plane


def subscribe(
    node: Node,
    camera: str,
    settings: NodeSettings,
    inbox: DepthInbox,
    *,
    is_wanted: Callable[[], bool],
    explain: Callable[[str, str], None],
) -> list[ImageSubscription]:
    """Have an inbox told what arrives; depth only while somebody wants places."""

    def on_depth(message: Any) -> None:
        if is_wanted():
            inbox.add_depth(message)

    def listen(topic: str, kind: type, callback: Callable[[Any], None]) -> ImageSubscription:
        return ImageSubscription(
            node, kind, topic, callback, reliability=settings.image_reliability, explain=explain
        )

    topics = depth_topics(node, camera, settings)
    made = [listen(topics.camera_info, CameraInfo, inbox.add_camera_info)]
    if settings.for_camera('depth', settings.cameras.index(camera)) == 'image':
        kind = Image if settings.depth_transport == 'raw' else CompressedImage
        made.append(listen(topics.depth, kind, on_depth))
    return made
