"""OodResult -> the pictures of one image, in its pixels, each made only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
import math
from pathlib import Path
from typing import Any

import cv2
from meta_ood_ros.core.image import open_image
from meta_ood_ros.core.received_grid import (
    to_received_labels,
    to_received_values,
    trace_contours,
)
from meta_ood_ros.core.result import fill_entropy, mark_ignored, OodResult
from meta_ood_ros.core.settings import NodeSettings
import numpy as np

#: RGB of accepted OoD segments: cyan is far from every colour of the Cityscapes palette.
OOD_COLOR = (0, 255, 255)

#: RGB of the outlines of rejected ones.
REJECTED_COLOR = (210, 210, 210)

#: RGB for each of 256 steps of entropy, dark to bright.
ENTROPY_COLORS = np.ascontiguousarray(
    cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1]
)

_LABELLED_PX = 250  # smaller segments are outlined only, rejected ones below 4 times as many
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class ResultPictures:
    """
    Every picture of one result, by the name of the node's topic.

    Parameters
    ----------
    ids : ndarray of shape (K + 1,), uint16
        Label -> id in the picture of segments; 0 where the segment is left out.
    image : ndarray of shape (H, W, 3), uint8
        The received image, RGB.
    palette : ndarray of shape (C, 3), uint8
        RGB of the classes.

    """

    def __init__(
        self,
        result: OodResult,
        ids: np.ndarray,
        *,
        image: np.ndarray,
        palette: np.ndarray,
        overlay_alpha: float,
    ) -> None:
        self._result = result
        self._ids = ids
        self._image = image
        self._classes = len(palette)
        # Class -> colour; C is accepted OoD, ignored pixels are black.
        self._colors = np.zeros((256, 3), np.uint8)
        self._colors[: self._classes] = palette
        self._colors[self._classes] = OOD_COLOR
        self._alpha = overlay_alpha

    def fill(self, name: str, out: np.ndarray) -> None:
        """Draw one of FILLS into an array of the size of the image that holds zeros."""
        FILLS[name](self, out)

    @cached_property
    def _semantic(self) -> np.ndarray:
        return mark_ignored(self._result)

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
        ids.reshape(-1)[pixels] = self._ids[labels]  # out is zero at first
        if not same_size:
            self._fill_labels(ids, out)

    def _fill_confidence(self, out: np.ndarray) -> None:
        values = to_received_values(self._result.max_probability, out.shape)
        cv2.convertScaleAbs(values, dst=out, alpha=255.0)  # rounds

    def _fill_entropy(self, out: np.ndarray) -> None:
        fill_entropy(self._result, out)

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


#: Name of a picture -> how its pixels are filled in.
FILLS: dict[str, Callable[[ResultPictures, np.ndarray], None]] = {
    'semantic': ResultPictures._fill_semantic,
    'semantic_ood': ResultPictures._fill_semantic_ood,
    'confidence': ResultPictures._fill_confidence,
    'entropy': ResultPictures._fill_entropy,
    'segment_ids': ResultPictures._fill_segment_ids,
    'overlay': ResultPictures._fill_overlay,
    'semantic_color': ResultPictures._fill_semantic_color,
    'entropy_color': ResultPictures._fill_entropy_color,
}


@dataclass(frozen=True, eq=False)
class DrawnSegment:
    """
    What is drawn of one segment, in pixels of the image.

    Parameters
    ----------
    contour : ndarray of shape (P, 2)
        x and y of its outer border; may be empty.
    box : (int, int, int, int)
        x, y, width, height.

    """

    contour: np.ndarray
    box: tuple[int, int, int, int]
    area_px: int
    ood_probability: float
    accepted: bool


def draw_segments(
    canvas: np.ndarray, segments: Sequence[DrawnSegment], scale: float = 1.0
) -> None:
    """Outline segments on an image enlarged by `scale`, and label those that are large enough."""
    for one in sorted(segments, key=lambda one: one.accepted):
        colour = OOD_COLOR if one.accepted else REJECTED_COLOR
        outline = np.int32(np.round((one.contour.astype(np.float64) + 0.5) * scale * 16))
        if len(outline):
            thickness = 2 if one.accepted else 1
            cv2.polylines(canvas, [outline], True, (0, 0, 0), thickness + 2, cv2.LINE_AA, 4)
            cv2.polylines(canvas, [outline], True, colour, thickness, cv2.LINE_AA, 4)
    taken: list[tuple[int, int, int, int]] = []
    # The largest are labelled first; labels that would lie on another one are left out.
    for one in sorted(segments, key=lambda one: (not one.accepted, -one.area_px)):
        if one.area_px * scale**2 >= (_LABELLED_PX if one.accepted else 4 * _LABELLED_PX):
            _label(canvas, one, scale, taken)


def _label(canvas: np.ndarray, one: DrawnSegment, scale: float, taken: list) -> None:
    known = not math.isnan(one.ood_probability)
    if one.accepted:
        text = f'unknown {one.ood_probability:.2f}' if known else 'unknown'
        size, ink, paper = 0.5, (0, 30, 30), OOD_COLOR
    elif known:
        text, size, ink, paper = f'{one.ood_probability:.2f}', 0.4, (40, 40, 40), REJECTED_COLOR
    else:
        return
    (width, height), _ = cv2.getTextSize(text, _FONT, size, 1)
    left, top, _, rows = one.box
    x = int(np.clip(left * scale, 0, max(canvas.shape[1] - width - 8, 0)))
    y = int(top * scale) - height - 10
    if y < 0:
        y = min(int((top + rows) * scale) + 2, canvas.shape[0] - height - 9)
    box = (x, y, x + width + 8, y + height + 8)
    if any(box[0] < r and left < box[2] and box[1] < b and t < box[3] for left, t, r, b in taken):
        return
    taken.append(box)
    cv2.rectangle(canvas, box[:2], box[2:], paper, cv2.FILLED)
    cv2.putText(canvas, text, (x + 4, y + height + 3), _FONT, size, ink, 1, cv2.LINE_AA)


def draw_overlay(
    image: np.ndarray | str | Path | Any,
    result: OodResult,
    *,
    overlay_alpha: float = NodeSettings.overlay_alpha,
) -> np.ndarray:
    """
    Return the picture that the demo shows: class colours, unknown segments outlined and labelled.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8, or str, Path or PIL image
        What the result is about, RGB; see `open_image`.
    result : OodResult
        Its `class_colors` are those of the bundle.
    overlay_alpha : float
        Opacity of the class colours, in [0, 1].

    Returns
    -------
    ndarray of shape (H, W, 3), uint8
        RGB. Accepted segments are cyan, rejected ones grey outlines; numbers are ood_probability.

    Raises
    ------
    ValueError
        The image has another size than the result, the result knows no colours, or the opacity
        is out of range.

    """
    pixels = open_image(image)
    if pixels.shape[:2] != tuple(result.image_size):
        raise ValueError(
            f'image must be of the size {tuple(result.image_size)} of the result, got '
            f'{pixels.shape[:2]}. Pass the image that the pipeline was called with.'
        )
    NodeSettings(overlay_alpha=overlay_alpha)  # refuses what the node would
    palette = np.array(result.class_colors, np.uint8).reshape(-1, 3)
    if len(palette) <= int(result.semantic.max(initial=0)):
        raise ValueError(
            f'result must have a colour for each of its classes, got {len(palette)} colours. '
            'Take one that a pipeline returned, or set class_colors with dataclasses.replace.'
        )
    ids = np.zeros(result.segments.count + 1, np.uint16)
    pictures = ResultPictures(
        result, ids, image=pixels, palette=palette, overlay_alpha=overlay_alpha
    )
    canvas = np.zeros_like(pixels)
    pictures.fill('overlay', canvas)
    view = result.to_image_size()
    columns = (view.contours, view.boxes.tolist(), view.area_px, result.ood_probability,
               result.accepted)  # fmt: skip
    draw_segments(canvas, [DrawnSegment(*row) for row in zip(*columns, strict=True)])
    return canvas
