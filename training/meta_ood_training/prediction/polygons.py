"""Segments -> polygons along the edges of their pixels, as COCO counts them."""

from __future__ import annotations

import cv2
from meta_ood_ros.core.result import OodResult
import numpy as np


def outline_segments(result: OodResult) -> list[list[list[float]]]:
    """
    Return the outer polygons of every segment, in pixels of the image.

    Returns
    -------
    list of K lists of lists [x1, y1, x2, y2, ...]
        Closed, along the edges between pixels: one pixel at (x, y) is the square from (x, y) to
        (x + 1, y + 1). Several where a segment falls apart in a smaller image; none where no
        pixel falls on it. Holes are left out.

    """
    view = result.to_image_size()
    outlines = []
    for row, (left, top, width, height) in enumerate(view.boxes.tolist()):
        inside = view.labels[top : top + height, left : left + width] == row + 1
        outlines.append([_to_flat(one, left, top) for one in outline_mask(inside)])
    return outlines


def outline_mask(mask: np.ndarray) -> list[np.ndarray]:
    """
    Return the outer borders of a mask, (P, 2) corners of pixels each, x and y.

    Notes
    -----
    In an image twice as large each pixel is 2 x 2 of which every one lies at another corner:
    OpenCV's contour, which runs through the centres of those, becomes that of the edges.
    """
    if not mask.any():
        return []
    double = np.repeat(np.repeat(mask.view(np.uint8), 2, axis=0), 2, axis=1)
    found, _ = cv2.findContours(double, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [_keep_corners((points[:, 0] + 1) // 2) for points in found]


def _keep_corners(points: np.ndarray) -> np.ndarray:
    """Leave out repeated points and those inside straight runs."""
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    return points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def _to_flat(points: np.ndarray, left: int, top: int) -> list[float]:
    return (points + (left, top)).astype(np.float64).reshape(-1).tolist()
