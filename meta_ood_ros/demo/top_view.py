"""One frame from above: where unknown objects are, and where accepted segments place them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

_SIZE, _FARTHEST, _RING = (440, 480), 40.0, 10.0
_PAPER, _INK, _FAINT = (24, 26, 30), (236, 238, 240), (84, 88, 94)
_TRUE, _PLACED = (90, 200, 120), (255, 96, 64)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SCALE = (_SIZE[0] - 40) / _FARTHEST  # px / m
_FOOT = (_SIZE[1] // 2, _SIZE[0] - 20)

Point = Sequence[float]


def draw_top_view(true: Iterable[Point], placed: Iterable[Point], half_angle: float) -> np.ndarray:
    """
    Return the street from above, the camera at the lower edge.

    Parameters
    ----------
    true, placed : iterable of (x, y, z)
        In the optical frame [m]: green rings, orange crosses.
    half_angle : float
        Between the optical axis and the left and right edge of the picture [rad].

    Returns
    -------
    ndarray of shape (440, 480, 3), uint8
        RGB.

    """
    page = np.empty((*_SIZE, 3), np.uint8)
    page[:] = _PAPER
    for metres in np.arange(_RING, _FARTHEST + 1, _RING):
        radius = round(metres * _SCALE)
        cv2.circle(page, _FOOT, radius, _FAINT, 1, cv2.LINE_AA)
        at = (_FOOT[0] + 4, _FOOT[1] - radius + 14)
        cv2.putText(page, f'{metres:.0f} m', at, _FONT, 0.4, _FAINT, 1, cv2.LINE_AA)
    for side in (-half_angle, half_angle):
        end = (np.sin(side) * 1.2 * _FARTHEST, 0, np.cos(side) * 1.2 * _FARTHEST)
        cv2.line(page, _FOOT, _pixel(end), _FAINT, 1, cv2.LINE_AA)
    cv2.circle(page, _FOOT, 4, _INK, -1, cv2.LINE_AA)
    for point in true:
        cv2.circle(page, _pixel(point), 8, _TRUE, 2, cv2.LINE_AA)
    for point in placed:
        cv2.drawMarker(page, _pixel(point), _PLACED, cv2.MARKER_TILTED_CROSS, 11, 2, cv2.LINE_AA)
    return page


def _pixel(point: Point) -> tuple[int, int]:
    return round(_FOOT[0] + _SCALE * point[0]), round(_FOOT[1] - _SCALE * point[2])
