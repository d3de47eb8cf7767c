"""Segments and a depth map -> what the depths of each segment's pixels say, in one pass."""

from meta_ood_ros.core.kernels.depth_modes import BINS, depth_bin, nearest_mode
from meta_ood_ros.core.kernels.jit import array, Kernel, kernel, part
from numba import types
import numpy as np

# Columns of the table: what is known of a segment.
SAMPLES, VALID, KEPT, STRIDE, EDGE = 0, 1, 2, 3, 4  # pixels looked at, with depth, of the mode
X, Y, Z, SPREAD = 5, 6, 7, 8  # medians [m], robust standard deviation of z [m]
LEFT, RIGHT, TOP, BOTTOM, NEAR, FAR = 9, 10, 11, 12, 13, 14  # outermost x, y; 5 % and 95 % of z
COLUMNS = 15

_MOST_SAMPLES = 2048  # pixels of a box that are looked at; larger boxes are looked at in strides
_FEWEST = 3  # pixels with depth for a position
_FEWEST_INSIDE = 8  # pixels of the interior, below which the border is used, too


@part
def select(values, count, rank):  # type: ignore[no-untyped-def]
    """Return the element of the given rank among the first count; reorders them (quickselect)."""
    low, high = 0, count - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if rank <= j:
            high = j
        elif rank >= i:
            low = i
        else:
            break
    return values[rank]


@part
def _median(values, count):  # type: ignore[no-untyped-def]
    """Return the median of the first count; reorders them."""
    upper = np.float64(select(values, count, count // 2))
    return upper if count % 2 else (upper + select(values, count, count // 2 - 1)) / 2


@part
def _is_inside(labels, y, x, label):  # type: ignore[no-untyped-def]
    """Tell whether the four neighbours belong to the segment, too."""
    height, width = labels.shape
    return (
        0 < y < height - 1
        and 0 < x < width - 1
        and labels[y, x - 1] == label
        and labels[y, x + 1] == label
        and labels[y - 1, x] == label
        and labels[y + 1, x] == label
    )


@part
def _take(labels, label, box, depth, unit, rows, columns, rays, stride, edge, xs, ys, zs):  # type: ignore[no-untyped-def]
    """Collect the points of a segment, without its border if edge; return looked at and valid."""
    # as far from one border of the box as from the other
    left, top = box[0] + (box[2] - 1) % stride // 2, box[1] + (box[3] - 1) % stride // 2
    samples, valid = 0, 0
    for y in range(top, box[1] + box[3], stride):
        for x in range(left, box[0] + box[2], stride):
            if labels[y, x] != label or (edge and not _is_inside(labels, y, x, label)):
                continue
            samples += 1
            z = depth[rows[y], columns[x]] * unit
            ray_x, ray_y = rays[y, x, 0], rays[y, x, 1]
            # false for NaN, too
            if 0 < z < np.inf and np.isfinite(ray_x) and np.isfinite(ray_y):
                xs[valid], ys[valid], zs[valid] = ray_x * z, ray_y * z, z
                valid += 1
    return samples, valid


@part
def _keep_one_surface(xs, ys, zs, valid, histogram):  # type: ignore[no-untyped-def]
    """Move the points of the mode to believe to the front; return how many they are."""
    histogram[:] = 0
    for i in range(valid):
        histogram[depth_bin(zs[i])] += 1
    begin, end = nearest_mode(histogram, valid)
    kept = 0
    for i in range(valid):
        if begin <= depth_bin(zs[i]) < end:
            xs[kept], ys[kept], zs[kept] = xs[i], ys[i], zs[i]
            kept += 1
    return kept


@part
def _describe(xs, ys, zs, kept, row):  # type: ignore[no-untyped-def]
    """Write medians, spread and extent of the points into a row of the table."""
    row[LEFT] = row[RIGHT] = xs[0]
    row[TOP] = row[BOTTOM] = ys[0]
    for i in range(1, kept):
        row[LEFT], row[RIGHT] = min(row[LEFT], xs[i]), max(row[RIGHT], xs[i])
        row[TOP], row[BOTTOM] = min(row[TOP], ys[i]), max(row[BOTTOM], ys[i])
    row[X] = _median(xs, kept)
    row[Y] = _median(ys, kept)
    middle = _median(zs, kept)
    row[Z] = middle
    row[NEAR] = select(zs, kept, kept // 20)
    row[FAR] = select(zs, kept, kept - 1 - kept // 20)
    for i in range(kept):
        zs[i] = abs(zs[i] - middle)
    row[SPREAD] = 1.4826 * _median(zs, kept)


def _sample_depth(labels, ids, boxes, depth, unit, rows, columns, rays, table):  # type: ignore[no-untyped-def]
    """
    Fill the table, one row a segment.

    unit is in metres; rows and columns say which pixel of depth shows a pixel of labels.
    """
    xs = np.empty(_MOST_SAMPLES, np.float32)
    ys = np.empty(_MOST_SAMPLES, np.float32)
    zs = np.empty(_MOST_SAMPLES, np.float32)
    histogram = np.empty(BINS, np.int64)
    for k in range(ids.size):
        box = boxes[k]
        stride = 1
        while -(-box[2] // stride) * -(-box[3] // stride) > _MOST_SAMPLES:
            stride += 1
        edge, samples, valid = 1, 0, 0
        while edge >= 0 and samples < _FEWEST_INSIDE:
            samples, valid = _take(
                labels, ids[k], box, depth, unit, rows, columns, rays, stride, edge, xs, ys, zs
            )
            edge -= 1
        kept = 0
        if valid >= _FEWEST:
            kept = _keep_one_surface(xs, ys, zs, valid, histogram)
        row = table[k]
        row[:] = np.nan
        row[SAMPLES], row[VALID], row[STRIDE], row[EDGE] = samples, valid, stride, edge + 1
        row[KEPT] = kept if kept >= _FEWEST else 0
        if kept >= _FEWEST:
            _describe(xs, ys, zs, kept, row)


def _gather_points(labels, ids, boxes, depth, unit, rows, columns, rays, stride, reach, xyz, of):  # type: ignore[no-untyped-def]
    """
    Write the points of the segments' pixels and return how many there are.

    Only every stride-th row and column; of gets the number of the segment.
    """
    count = 0
    for k in range(ids.size):
        label, left, top = ids[k], boxes[k, 0], boxes[k, 1]
        for y in range(-(-top // stride) * stride, top + boxes[k, 3], stride):
            for x in range(-(-left // stride) * stride, left + boxes[k, 2], stride):
                if labels[y, x] != label:
                    continue
                z = depth[rows[y], columns[x]] * unit
                if not 0 < z < np.inf:
                    continue
                px, py = rays[y, x, 0] * z, rays[y, x, 1] * z
                # false where there is no ray, too
                if px * px + py * py + z * z <= reach * reach:
                    xyz[count, 0], xyz[count, 1], xyz[count, 2] = px, py, z
                    of[count] = k
                    count += 1
    return count


def _for_depths(function, *rest, returns=types.void) -> dict[np.dtype, Kernel]:  # type: ignore[no-untyped-def]
    """Return the kernel for each type of depth image, by dtype."""
    return {
        np.dtype(name): kernel(
            array(types.int32, 2), array(types.int32, 1), array(types.int32, 2),
            array(getattr(types, name), 2), types.float32, array(types.int64, 1),
            array(types.int64, 1), array(types.float32, 3), *rest, returns=returns,
        )(function)
        for name in ('uint16', 'float32')
    }  # fmt: skip


SAMPLE_DEPTH = _for_depths(_sample_depth, array(types.float64, 2, readonly=False))
GATHER_POINTS = _for_depths(
    _gather_points, types.intp, types.float64, array(types.float32, 2, readonly=False),
    array(types.int32, 1, readonly=False), returns=types.intp,
)  # fmt: skip
