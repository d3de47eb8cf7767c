"""OodResult -> the image messages of one frame, each made only when asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import cv2
from meta_ood_ros.core.result import OodResult
from meta_ood_ros.messages.conversions import new_image
from meta_ood_ros.messages.received_grid import (
    to_received_labels,
    to_received_values,
    trace_contours,
)
from meta_ood_ros.messages.segment_messages import PublishedSegments
import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

#: Class id of ignored pixels; vision_msgs calls it UNLABELED.
IGNORED = 255

#: RGB of accepted OoD segments: cyan is far from every colour of the Cityscapes palette.
OOD_COLOR = (0, 255, 255)

#: RGB for each of 256 steps of entropy, dark to bright.
ENTROPY_COLORS = np.ascontiguousarray(
    cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1]
)


class Pictures:
    """
    Every image that the node publishes about one frame, by the name of its topic.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8
        The received image, RGB.
    palette : ndarray of shape (C, 3), uint8
        RGB of the classes.

    """

    def __init__(
        self,
        result: OodResult,
        published: PublishedSegments,
        *,
        image: np.ndarray,
        palette: np.ndarray,
        overlay_alpha: float,
    ) -> None:
        self._result = result
        self._published = published
        self._image = image
        self._classes = len(palette)
        # Class -> colour; C is accepted OoD, ignored pixels are black.
        self._colors = np.zeros((256, 3), np.uint8)
        self._colors[: self._classes] = palette
        self._colors[self._classes] = OOD_COLOR
        self._alpha = overlay_alpha

    def make(self, name: str, header: Header) -> Image:
        """Return one of PICTURES, pixel-aligned with the received image."""
        encoding, fill = PICTURES[name]
        message, pixels = new_image(header, self._result.image_size, encoding)
        fill(self, pixels)
        return message

    @cached_property
    def _semantic(self) -> np.ndarray:
        """Class of each work pixel, IGNORED under the mask."""
        semantic, ignored = self._result.semantic, self._result.ignored
        if ignored is None:
            return semantic
        return np.where(ignored, np.uint8(IGNORED), semantic)

    @cached_property
    def _semantic_ood(self) -> np.ndarray:
        """The same with C where a segment is accepted."""
        if not self._result.accepted.any():
            return self._semantic
        pixels, labels = self._ood_pixels
        marked = self._semantic.copy()
        marked.reshape(-1)[pixels[self._accepted[labels]]] = self._classes
        return marked

    @cached_property
    def _accepted(self) -> np.ndarray:
        """Whether the segment of each label is accepted; False for 0."""
        return np.concatenate([[False], self._result.accepted])

    @cached_property
    def _ood_pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Flat positions of the pixels of segments, and their labels: a look-up of few."""
        labels = self._result.segments.labels.reshape(-1)
        pixels = np.flatnonzero(labels != 0)  # of bool it is four times as fast as of int32
        return pixels, labels[pixels]

    def _fill_labels(self, labels: np.ndarray, out: np.ndarray) -> None:
        to_received_labels(labels, out.shape[:2], out=out)

    def _fill_semantic(self, out: np.ndarray) -> None:
        self._fill_labels(self._semantic, out)

    def _fill_semantic_ood(self, out: np.ndarray) -> None:
        self._fill_labels(self._semantic_ood, out)

    def _fill_segment_ids(self, out: np.ndarray) -> None:
        pixels, labels = self._ood_pixels
        same_size = out.shape == self._result.work_size
        ids = out if same_size else np.zeros(self._result.work_size, np.uint16)
        ids.reshape(-1)[pixels] = self._published.ids[labels]  # out is zero at first
        if not same_size:
            self._fill_labels(ids, out)

    def _fill_confidence(self, out: np.ndarray) -> None:
        values = to_received_values(self._result.max_probability, out.shape)
        cv2.convertScaleAbs(values, dst=out, alpha=255.0)  # rounds

    def _fill_entropy(self, out: np.ndarray) -> None:
        to_received_values(self._result.entropy, out.shape, out=out)
        if self._result.ignored is not None:  # after scaling, which would mix both sides
            out[to_received_labels(self._result.ignored, out.shape)] = 0.0

    def _fill_semantic_color(self, out: np.ndarray) -> None:
        _paint(to_received_labels(self._semantic, out.shape[:2]), self._colors, out)

    def _fill_entropy_color(self, out: np.ndarray) -> None:
        entropy = np.empty(out.shape[:2], np.float32)
        self._fill_entropy(entropy)
        _paint(cv2.convertScaleAbs(entropy, alpha=255.0), ENTROPY_COLORS, out)

    def _fill_overlay(self, out: np.ndarray) -> None:
        _paint(to_received_labels(self._semantic_ood, out.shape[:2]), self._colors, out)
        cv2.addWeighted(self._image, 1.0 - self._alpha, out, self._alpha, 0.0, dst=out)
        contours = trace_contours(
            self._result.segments.labels, self._accepted, out.shape[:2], tolerance=0.0
        )
        if not contours:
            return
        # Outlined at full strength, so that segments show at any opacity.
        width = max(1, round(min(out.shape[:2]) / 360))
        cv2.polylines(out, list(contours.values()), True, OOD_COLOR, width)


def _paint(labels: np.ndarray, colors: np.ndarray, out: np.ndarray) -> None:
    """Write the colour of each label; numpy would make 8-byte indices of the labels first."""
    cv2.applyColorMap(labels, colors[:, None], dst=out)


#: Topic below ~/ -> encoding and how its pixels are filled in.
PICTURES: dict[str, tuple[str, Callable[[Pictures, np.ndarray], None]]] = {
    'semantic': ('mono8', Pictures._fill_semantic),
    'semantic_ood': ('mono8', Pictures._fill_semantic_ood),
    'confidence': ('mono8', Pictures._fill_confidence),
    'entropy': ('32FC1', Pictures._fill_entropy),
    'segment_ids': ('mono16', Pictures._fill_segment_ids),
    'overlay': ('rgb8', Pictures._fill_overlay),
    'semantic_color': ('rgb8', Pictures._fill_semantic_color),
    'entropy_color': ('rgb8', Pictures._fill_entropy_color),
}
