"""Segments and a depth map -> where the segments are."""

from meta_ood_ros.core.kernels import depth_samples as column
from meta_ood_ros.core.places.camera_model import CameraModel
from meta_ood_ros.core.places.depth_map import checked_depth, nearest_pixels, UNITS
from meta_ood_ros.core.places.placed_segments import checked_segments, PlacedSegments, Verdict
import numpy as np
from numpy.typing import NDArray

_LEAST_DEVIATION = 1e-3  # m; the unit of 16UC1


def locate_in_depth(
    labels: NDArray[np.int32],
    ids: NDArray[np.int32],
    boxes: NDArray[np.int32],
    depth: NDArray[np.uint16] | NDArray[np.float32],
    camera: CameraModel,
) -> PlacedSegments:
    """
    Return where segments are, from the depths of their pixels.

    Parameters
    ----------
    labels : ndarray of shape (H, W), int32
        Ids of the segments, 0 elsewhere.
    ids : ndarray of shape (N,), int32
        The segments to place.
    boxes : ndarray of shape (N, 4), int32
        Their x0, y0, width, height [px].
    depth : ndarray of shape (h, w), uint16 [mm] or float32 [m]
        Along the optical axis and registered to the image, of its size or another: pixels
        correspond by their centres. Not positive or not finite is a hole.
    camera : CameraModel
        Of the grid of labels.

    Returns
    -------
    PlacedSegments

    Notes
    -----
    The position is the median of the deprojected pixels of the segment's interior; of a segment
    with several surfaces, of the nearest one if it holds a fifth of the pixels. Surfaces are
    apart where the gap between their quartiles is more than a tenth of the nearer depth. Of
    boxes of more than 2048 pixels evenly spaced rows and columns are looked at. The standard
    deviation of z is 1.48 times the median absolute deviation, at least 1 mm, divided by the
    square root of the share of pixels that it rests on; that of x and y adds one pixel.

    """
    labels, ids, boxes = checked_segments(labels, ids, boxes, camera.size)
    depth = checked_depth(depth)
    sample, unit = column.SAMPLE_DEPTH[depth.dtype], np.float32(UNITS[depth.dtype])
    rows = nearest_pixels(labels.shape[0], depth.shape[0])
    columns = nearest_pixels(labels.shape[1], depth.shape[1])
    table = np.empty((len(ids), column.COLUMNS))

    if len(ids):
        sample(labels, ids, boxes, depth, unit, rows, columns, camera.rays, table)
    t = table.T
    z = t[column.Z]
    positions = np.stack([t[column.X], t[column.Y], z], axis=1)
    samples = np.maximum(t[column.SAMPLES], 1)
    deviation = np.maximum(t[column.SPREAD], _LEAST_DEVIATION)
    deviation = deviation / np.sqrt(np.maximum(t[column.KEPT], 1) / samples)
    pixel = z[:, None] / camera.matrix[[0, 1], [0, 1]]
    lateral = np.hypot(positions[:, :2] / z[:, None] * deviation[:, None], pixel)
    # outermost pixel centres -> outermost pixel borders of the segment
    border = pixel * (t[column.STRIDE] + 2 * t[column.EDGE])[:, None]
    across = np.stack([t[column.RIGHT] - t[column.LEFT], t[column.BOTTOM] - t[column.TOP]], axis=1)
    verdicts = tuple(
        Verdict.PLACED if kept else Verdict.NO_DEPTH if valid < 3 else Verdict.MIXED_DEPTH
        for kept, valid in zip(t[column.KEPT], t[column.VALID], strict=True)
    )
    return PlacedSegments(
        source='depth',
        ids=ids,
        positions=positions,
        standard_deviations=np.concatenate([lateral, deviation[:, None]], axis=1),
        extents=np.concatenate([across + border, (t[column.FAR] - t[column.NEAR])[:, None]], 1),
        depth_shares=t[column.VALID] / samples,
        distances=np.linalg.norm(positions, axis=1),
        verdicts=verdicts,
    )
