"""Depth images and camera_info of one camera -> what belongs to an image of it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
import math
import threading
from typing import Any

from meta_ood_ros.core.places import CameraModel
from meta_ood_ros.messages.depth_messages import to_camera_model, to_depth
import numpy as np

#: Depth images kept for images whose answer is not yet made: a second of a camera at 30 Hz.
MOST_KEPT = 30

# A depth image of another shape does not show the same picture.
_LARGEST_RATIO = 1.05


def seconds(stamp: Any) -> float:
    """Return a stamp in seconds."""
    return float(stamp.sec) + 1e-9 * stamp.nanosec


@dataclass(frozen=True)
class Topics:
    """Where the messages are expected, for sentences."""

    depth: str
    camera_info: str


class DepthInbox:
    """
    What has arrived of a camera's depth and calibration; safe to use from several threads.

    Whatever is missing or wrong is told by a ValueError of one sentence.
    """

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._lock = threading.Lock()
        self._depths: deque[Any] = deque(maxlen=MOST_KEPT)
        self._seen_depth = False
        self._info: Any = None
        self._model: CameraModel | str = (
            f'no camera_info has arrived on {topics.camera_info}. Publish it, or remap '
            'camera_info.'
        )
        self._on_grid: CameraModel | None = None

    def add_camera_info(self, message: Any) -> None:
        """Take in a calibration; most are the one before."""
        if self._info is not None and _calibration(message) == _calibration(self._info):
            return
        try:
            model: CameraModel | str = to_camera_model(message)
        except ValueError as error:
            model = f'camera_info of {self._topics.camera_info} cannot be used: {error}'
        with self._lock:
            self._info, self._model, self._on_grid = message, model, None

    def add_depth(self, message: Any) -> None:
        """Keep a depth image for the image it belongs to."""
        with self._lock:
            self._seen_depth = True
            self._depths.append(message)

    def clear(self) -> None:
        """Forget the depth images: they belong to another time."""
        with self._lock:
            self._depths.clear()

    def camera(self, image_size: tuple[int, int], work_size: tuple[int, int]) -> CameraModel:
        """Return the model of the work grid of an image."""
        with self._lock:
            model, on_grid = self._model, self._on_grid
        if isinstance(model, str):
            raise ValueError(model)
        if tuple(model.size) != tuple(image_size):
            raise ValueError(
                f'camera_info of {self._topics.camera_info} describes an image of '
                f'{model.size[0]} x {model.size[1]} pixels, got one of {image_size[0]} x '
                f'{image_size[1]}. Publish the camera_info of this image.'
            )
        if on_grid is None or tuple(on_grid.size) != tuple(work_size):
            on_grid = model.resized(work_size)
            with self._lock:
                if self._model is model:
                    self._on_grid = on_grid
        return on_grid

    def take(self, header: Any, tolerance: float) -> Any:
        """Return the depth message nearest in stamp; older ones are not needed any more."""
        wanted = seconds(header.stamp)
        with self._lock:
            seen, depths = self._seen_depth, list(self._depths)
        if not seen:
            raise ValueError(
                f'no depth image has arrived on {self._topics.depth}. Publish it, or remap depth.'
            )
        gaps = [abs(seconds(one.header.stamp) - wanted) for one in depths]
        gap = min(gaps, default=math.inf)
        if gap > tolerance:
            nearest_is = f'the nearest is {gap:.3g} s away' if depths else 'none is kept'
            raise ValueError(
                f'no depth image of {self._topics.depth} within {tolerance:.3g} s of the image: '
                f'{nearest_is}. Synchronise the cameras, or raise depth_tolerance.'
            )
        self._forget_before(wanted - tolerance)
        nearest = depths[gaps.index(gap)]
        if nearest.header.frame_id != header.frame_id:
            raise ValueError(
                f'depth image of {self._topics.depth} is in frame {nearest.header.frame_id!r}, '
                f'the image in {header.frame_id!r}. Publish depth registered to the image.'
            )
        return nearest

    def _forget_before(self, stamp: float) -> None:
        with self._lock:
            while self._depths and seconds(self._depths[0].header.stamp) < stamp:
                self._depths.popleft()


def decode_depth(message: Any, image_size: tuple[int, int], topic: str) -> np.ndarray:
    """Return the depth of a message that shows the same as an image of that size."""
    try:
        depth = to_depth(message)
    except ValueError as error:
        raise ValueError(f'depth of {topic} cannot be used: {error}') from error
    ratio = (depth.shape[0] * image_size[1]) / (depth.shape[1] * image_size[0])
    if not 1 / _LARGEST_RATIO <= ratio <= _LARGEST_RATIO:
        raise ValueError(
            f'depth image of {topic} has {depth.shape[0]} x {depth.shape[1]} pixels, which is '
            f'another shape than the image of {image_size[0]} x {image_size[1]}. '
            'Publish depth registered to the image.'
        )
    return depth


def _calibration(message: Any) -> tuple[Any, ...]:
    return (
        message.height, message.width, message.distortion_model, list(message.d),
        list(message.k), message.binning_x, message.binning_y, message.roi,
    )  # fmt: skip
