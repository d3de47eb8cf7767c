"""One picture about one frame: what the node sees, what it does not know, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
from meta_ood_ros.core.pictures import (
    draw_segments,
    DrawnSegment,
    ENTROPY_COLORS,
    OOD_COLOR,
    REJECTED_COLOR,
)
from meta_ood_ros.core.result import IGNORED
import numpy as np

#: Width of the large view, in pixels.
VIEW_WIDTH = 960
_HEADER, _FOOTER, _GAP = 40, 64, 4
_PAPER, _INK, _FAINT = (24, 26, 30), (236, 238, 240), (150, 154, 160)
_SMALLEST_SHARE = 0.002  # of the pixels; classes below are not named
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, eq=False)
class FrameView:
    """
    What a picture is made of.

    Parameters
    ----------
    image, overlay, entropy_color, semantic_color : ndarray of shape (H, W, 3), uint8
        RGB; the last three as the node publishes them.
    semantic : ndarray of shape (H, W), uint8
        Class ids.

    """

    title: str
    note: str
    image: np.ndarray
    overlay: np.ndarray
    entropy_color: np.ndarray
    semantic_color: np.ndarray
    semantic: np.ndarray
    segments: Any


def draw_view(view: FrameView) -> np.ndarray:
    """
    Return the large view alone: the overlay with outlined, labelled unknown segments.

    Returns
    -------
    ndarray of shape (h, 960, 3), uint8
        RGB, the aspect of the image.

    """
    size = _scaled_size(view.overlay.shape[:2], VIEW_WIDTH)
    canvas = _resized(view.overlay, size)
    scale = size[1] / view.overlay.shape[1]
    draw_segments(canvas, [_to_drawn(one) for one in view.segments.segments], scale)
    return canvas


def _to_drawn(one: Any) -> DrawnSegment:
    """Return what is drawn of a segment of a message."""
    return DrawnSegment(
        contour=np.stack([one.contour_x, one.contour_y], axis=1),
        box=(one.roi.x_offset, one.roi.y_offset, one.roi.width, one.roi.height),
        area_px=one.area_px,
        ood_probability=one.ood_probability,
        accepted=one.accepted,
    )


def draw_frame(view: FrameView) -> np.ndarray:
    """
    Return the whole picture: large view, input, entropy, names of the classes.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8
        RGB.

    """
    large = draw_view(view)
    height = large.shape[0]
    half = ((height - _GAP) // 2, VIEW_WIDTH // 2)
    page = np.empty((_HEADER + height + _FOOTER, VIEW_WIDTH + _GAP + half[1], 3), np.uint8)
    page[:] = _PAPER
    page[_HEADER : _HEADER + height, :VIEW_WIDTH] = large
    right = page[_HEADER : _HEADER + height, VIEW_WIDTH + _GAP :]
    _put(right[: half[0]], _resized(view.image, half), 'camera')
    _put(right[-half[0] :], _resized(view.entropy_color, half), 'entropy')
    _draw_scale(right[-half[0] :], view.segments.score_threshold)
    _text(page, view.title, (12, 27), 0.6, _INK)
    (width, _), _ = cv2.getTextSize(view.note, _FONT, 0.5, 1)
    _text(page, view.note, (page.shape[1] - width - 12, 26), 0.5, _FAINT)
    _draw_legend(page[-_FOOTER:], view)
    return page


def _scaled_size(size: tuple[int, ...], width: int) -> tuple[int, int]:
    return max(round(size[0] * width / size[1]), 2), width


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shrinks = size[1] < image.shape[1]
    kind = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(image, (size[1], size[0]), interpolation=kind)


def _put(place: np.ndarray, picture: np.ndarray, name: str) -> None:
    place[:] = picture
    (width, height), _ = cv2.getTextSize(name, _FONT, 0.45, 1)
    corner = place[: height + 10, : width + 12]
    corner[:] = corner // 3
    _text(place, name, (6, height + 4), 0.45, _INK)


def _draw_scale(place: np.ndarray, threshold: float) -> None:
    """Draw the colours of entropy 0..1 and where the threshold lies."""
    height, width = place.shape[:2]
    left, right, top, bottom = int(width * 0.55), width - 12, height - 18, height - 10
    if right - left < 40 or top < 20:
        return
    back = place[top - 16 : bottom + 6, left - 10 : right + 10]
    back[:] = back // 3
    steps = np.linspace(0, 255, right - left).astype(np.uint8)
    place[top:bottom, left:right] = ENTROPY_COLORS[steps]
    at = left + round(threshold * (right - left - 1))
    cv2.line(place, (at, top - 4), (at, bottom + 2), OOD_COLOR, 2)
    _text(place, f'unknown from {threshold:.2f}', (left, top - 5), 0.36, _INK)


def _draw_legend(place: np.ndarray, view: FrameView) -> None:
    """Name the colours that occur: classes by share, then what the outlines mean."""
    ids, first, counts = np.unique(view.semantic, return_index=True, return_counts=True)
    colours = view.semantic_color.reshape(-1, 3)[first]
    names = view.segments.class_names
    entries: list[tuple[str, Sequence[int]]] = [('accepted as unknown', OOD_COLOR)]
    if view.segments.segments_rejected:
        entries.append(('rejected by the meta classifier', REJECTED_COLOR))
    for k in np.argsort(-counts):
        if ids[k] < min(len(names), IGNORED) and counts[k] >= _SMALLEST_SHARE * view.semantic.size:
            entries.append((names[ids[k]], colours[k].tolist()))
    x, y = 12, 12
    for name, colour in entries:
        (width, _), _ = cv2.getTextSize(name, _FONT, 0.42, 1)
        if x + width + 24 > place.shape[1] - 12:
            x, y = 12, y + 24
            if y + 14 > place.shape[0]:
                return
        cv2.rectangle(place, (x, y), (x + 14, y + 14), tuple(int(c) for c in colour), cv2.FILLED)
        _text(place, name, (x + 20, y + 12), 0.42, _INK)
        x += width + 38


def _text(
    place: np.ndarray, text: str, at: tuple[int, int], size: float, colour: tuple[int, int, int]
) -> None:
    # Hershey fonts are ASCII only.
    text = text.encode('ascii', 'replace').decode()
    cv2.putText(place, text, at, _FONT, size, colour, 1, cv2.LINE_AA)


def to_view(title: str, note: str, image: np.ndarray | None, answer: Any) -> FrameView | None:
    """
    Return what an answer of the node shows, or None where pictures are missing.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8, or None
        What was sent.

    """
    needed = ('overlay', 'entropy_color', 'semantic_color', 'semantic')
    if image is None or answer.segments is None or not answer.pictures.keys() >= set(needed):
        return None

    def pixels(name: str) -> np.ndarray:
        message = answer.picture(name)
        return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, -1)

    return FrameView(
        title=title,
        note=note,
        image=image,
        overlay=pixels('overlay'),
        entropy_color=pixels('entropy_color'),
        semantic_color=pixels('semantic_color'),
        semantic=pixels('semantic')[..., 0],
        segments=answer.segments,
    )
