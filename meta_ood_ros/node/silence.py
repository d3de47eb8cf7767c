"""No image, no time: what stands in the way, in a sentence."""

from __future__ import annotations

import time

from meta_ood_ros.node.qos import ImageSubscription
from rclpy.clock import ROSClock
from rclpy.lifecycle import LifecycleNode

#: Images are missed after this many seconds without one.
SILENCE = 3.0


def explain_silence(
    node: LifecycleNode, camera: str, subscription: ImageSubscription, last_arrival: float
) -> str:
    """Return why no image of a camera has come for `SILENCE` seconds, or ''."""
    publishers, other_types = subscription.publishers()
    if time.monotonic() - max(last_arrival, subscription.since) < SILENCE:
        return ''
    sentence = f'No image arrives on {subscription.topic}'
    if publishers:
        return f'{sentence} although {publishers} publish it. Check QoS and network.'
    if other_types:
        return (
            f'{sentence}: it carries {", ".join(other_types)}. Check the topic and '
            'image_transport.'
        )
    remapped = f'{camera}/image' if camera else 'image'
    without = subscription.topic.removesuffix('/compressed')
    ends = node.get_publishers_info_by_topic(without)
    if 'sensor_msgs/msg/CompressedImage' in (one.topic_type for one in ends):
        return (
            f'{sentence}: nobody publishes it, but {without} is compressed. Remap '
            f'{remapped}/compressed to it, or launch with append_transport:=false.'
        )
    return f'{sentence}: nobody publishes it. Start the camera, or remap {remapped}.'


def explain_missing_clock(node: LifecycleNode) -> str:
    """Return a sentence about time that stands still because nobody tells it, or ''."""
    clock = node.get_clock()
    waits = isinstance(clock, ROSClock) and clock.ros_time_is_active
    if not waits or clock.now().nanoseconds:
        return ''
    return (
        'use_sim_time is set, but no time has come on /clock. Play the bag with --clock, '
        'start the simulator, or leave use_sim_time out.'
    )
