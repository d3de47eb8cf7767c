"""The ground as a frame of tf2 knows it -> the plane in the frame of an image."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from meta_ood_ros.core.error_text import first_line
from meta_ood_ros.core.places import GroundPlane
from meta_ood_ros.node.places.depth import seconds
import numpy as np
from rclpy.node import Node
from rclpy.time import Time


def find_tf2_ros() -> ModuleType:
    """Return the module tf2_ros; ValueError says what to install."""
    try:
        import tf2_ros
    # One that was built for another Python or ROS fails with anything.
    except Exception as error:
        raise ValueError(
            f'ground_frame needs tf2_ros, which cannot be loaded ({first_line(error)}). Install '
            'ros-<distribution>-tf2-ros-py, or give camera_height or ground_coefficients instead.'
        ) from error
    return tf2_ros


class GroundFrames:
    """Listens to tf2 and says where the ground is; safe to use from several threads."""

    def __init__(self, node: Node) -> None:
        self._tf2 = find_tf2_ros()
        self._buffer = self._tf2.Buffer()
        # No thread of its own: the executor of the node serves its subscriptions.
        self._listener: Any = self._tf2.TransformListener(self._buffer, node, spin_thread=False)

    def clear(self) -> None:
        """Forget all transforms: the clock jumped."""
        self._buffer.clear()

    def close(self) -> None:
        """Stop to listen."""
        if self._listener is not None:
            self._listener.unregister()
            self._listener = None

    def plane(self, frame: str, header: Any, tolerance: float) -> GroundPlane:
        """
        Return the plane z = 0 of a frame, as seen from that of a header at its stamp.

        Where tf2 lags behind the image the newest transform is taken, up to `tolerance` seconds
        old: nothing is waited for.
        """
        transform = self._look_up(frame, header, tolerance)
        up = _third_axis(transform.transform.rotation)
        shift = transform.transform.translation
        height = -float(up @ [shift.x, shift.y, shift.z])
        if not height > 0:
            raise ValueError(
                f'ground_frame {frame!r} must lie below the camera, got {header.frame_id!r} '
                f'{height:.3g} m above it. Name a frame on the ground whose z points up, as '
                'base_footprint.'
            )
        return GroundPlane(-up, height)

    def _look_up(self, frame: str, header: Any, tolerance: float) -> Any:
        look_up, camera = self._buffer.lookup_transform, header.frame_id
        try:
            return look_up(camera, frame, Time.from_msg(header.stamp))
        except self._tf2.ExtrapolationException as error:
            latest = self._newest(camera, frame, error)
            age = seconds(header.stamp) - seconds(latest.header.stamp)
            if abs(age) > tolerance:
                raise ValueError(
                    f'tf2 must know {frame!r} in {camera!r} within {tolerance:.3g} s of the '
                    f'image, got a transform {age:.3g} s older. Check who publishes it and the '
                    'clocks, or raise depth_tolerance.'
                ) from error
            return latest
        except self._tf2.TransformException as error:
            raise _unknown(frame, camera, error) from error

    def _newest(self, camera: str, frame: str, before: Exception) -> Any:
        try:
            return self._buffer.lookup_transform(camera, frame, Time())
        except self._tf2.TransformException as error:
            raise _unknown(frame, camera, error) from before


def _unknown(frame: str, camera: str, error: Exception) -> ValueError:
    return ValueError(
        f'tf2 must know ground_frame {frame!r} in the frame {camera!r} of the image, got: '
        f'{first_line(error)} Publish the transform (robot_state_publisher), or correct '
        'ground_frame.'
    )


def _third_axis(q: Any) -> np.ndarray:
    """Return what a quaternion makes of the z axis."""
    x, y, z, w = np.array([q.x, q.y, q.z, q.w]) / np.linalg.norm([q.x, q.y, q.z, q.w])
    return np.array([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])
