"""The pixels of segments, in space."""

import math

from meta_ood_ros.core.kernels.depth_samples import GATHER_POINTS
from meta_ood_ros.core.places.camera_model import CameraModel
from meta_ood_ros.core.places.depth_map import checked_depth, nearest_pixels, UNITS
from meta_ood_ros.core.places.placed_segments import checked_segments
import numpy as np
from numpy.typing import NDArray

# 20 bytes a point, without padding: the layout of the PointCloud2.
POINT = np.dtype([
    ('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('id', '<u4'), ('ood_probability', '<f4'),
])  # fmt: skip


def segment_points(
    labels: NDArray[np.int32],
    ids: NDArray[np.int32],
    boxes: NDArray[np.int32],
    ood_probability: NDArray[np.float32],
    depth: NDArray[np.uint16] | NDArray[np.float32],
    camera: CameraModel,
    *,
    stride: int = 1,
    max_range: float = math.inf,
) -> NDArray[np.void]:
    """
    Return the points that the pixels of segments show.

    Parameters
    ----------
    labels : ndarray of shape (H, W), int32
        Ids of the segments, 0 elsewhere.
    ids : ndarray of shape (N,), int32
        The segments wanted.
    boxes : ndarray of shape (N, 4), int32
        Their x0, y0, width, height [px].
    ood_probability : ndarray of shape (N,), float32
        P(true OoD) of each.
    depth : ndarray of shape (h, w), uint16 [mm] or float32 [m]
        As in `locate_in_depth`.
    camera : CameraModel
        Of the grid of labels.
    stride : int
        Every stride-th row and column of labels gives points.
    max_range : float
        Points farther from the optical centre are left out [m].

    Returns
    -------
    ndarray of shape (P,), structured
        x, y, z (float32, optical frame [m]), id (uint32), ood_probability (float32), without
        padding; no point where the depth has a hole.

    """
    if stride < 1 or not max_range > 0:
        raise ValueError(
            f'stride must be at least 1 and max_range greater than 0, got {stride} and '
            f'{max_range}. Give rows and m.'
        )
    labels, ids, boxes = checked_segments(labels, ids, boxes, camera.size)
    probability = np.asarray(ood_probability, np.float32)
    if probability.shape != ids.shape:
        raise ValueError(
            f'ood_probability must have one value for each of {len(ids)} ids, got shape '
            f'{probability.shape}. Select it like the ids.'
        )
    depth = checked_depth(depth)
    rows = nearest_pixels(labels.shape[0], depth.shape[0])
    columns = nearest_pixels(labels.shape[1], depth.shape[1])
    sides = -(-boxes[:, 2:].astype(np.int64) // stride)
    # boxes may overlap, but each pixel belongs to one segment
    most = min(int(sides.prod(axis=1).sum()), labels.size)
    xyz, owner = np.empty((most, 3), np.float32), np.empty(most, np.int32)
    count = 0
    if len(ids):
        unit = np.float32(UNITS[depth.dtype])
        count = GATHER_POINTS[depth.dtype](
            labels, ids, boxes, depth, unit, rows, columns, camera.rays, stride, max_range,
            xyz, owner,
        )  # fmt: skip
    points = np.empty(count, POINT)
    for axis, name in enumerate('xyz'):
        points[name] = xyz[:count, axis]
    points['id'] = ids[owner[:count]]
    points['ood_probability'] = probability[owner[:count]]
    return points
