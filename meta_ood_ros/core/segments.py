"""Entropy -> OoD mask -> OoD segments: 8-connected components, numbered as they are read."""

from dataclasses import dataclass

from meta_ood_ros.core.kernels.jit import array, kernel, part
from meta_ood_ros.core.kernels.raster import find_end, find_set
from numba import types
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, repr=False)
class Segments:
    """
    A partition of the OoD pixels into segments.

    Attributes
    ----------
    labels : ndarray of shape (H, W), int32
        0 where no segment is, else the segment's id, 1..count, in the raster order of the
        segments' first pixels.
    count : int
        Number of segments, K.

    """

    labels: NDArray[np.int32]
    count: int

    def __repr__(self) -> str:
        """Return size and count in a line."""
        height, width = self.labels.shape
        return f'Segments({self.count} on {height} x {width} px)'


def find_segments(ood_mask: NDArray[np.bool_], *, min_size_px: int = 0) -> Segments:
    """
    Return the 8-connected components of the OoD mask.

    Parameters
    ----------
    ood_mask : ndarray of shape (H, W), bool
        True where a pixel is OoD (entropy >= threshold).
    min_size_px : int
        Smaller segments [px] are dropped before numbering.

    Returns
    -------
    Segments
        Ids in the raster order of the segments' first pixels.

    Notes
    -----
    8-connected as in the published evaluation; 4 would split thin obstacles.

    """
    mask = np.asarray(ood_mask)
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(
            f'ood_mask must be a bool array of shape (H, W), got {mask.dtype} of shape '
            f'{mask.shape}. Threshold the score first: entropy >= entropy_threshold.'
        )
    if min_size_px < 0:
        raise ValueError(
            f'min_size_px must be at least 0, got {min_size_px}. 0 keeps every segment.'
        )
    labels = np.zeros(mask.shape, np.int32)
    flat = np.ascontiguousarray(mask).reshape(-1).view(np.uint8)
    words = flat[: flat.size // 8 * 8].view(np.uint64)
    count = _label(flat, words, mask.shape[1], min_size_px, labels.reshape(-1))
    return Segments(labels, int(count))


@part
def _join(parent, a, b):  # type: ignore[no-untyped-def]
    """Join the components of runs a and b; the root that comes first stays root."""
    while parent[a] != a:
        parent[a] = parent[parent[a]]
        a = parent[a]
    while parent[b] != b:
        parent[b] = parent[parent[b]]
        b = parent[b]
    parent[max(a, b)] = min(a, b)


@kernel(
    array(types.uint8, 1), array(types.uint64, 1), types.intp, types.intp,
    array(types.int32, 1, readonly=False), returns=types.intp,
)  # fmt: skip
def _label(mask, words, width, min_size_px, labels):  # type: ignore[no-untyped-def]
    """
    Write the ids into labels and return how many there are; images are flat.

    Works on runs (OoD pixels side by side in a row): a run joins the runs of the row above that
    it touches, also diagonally. The parent of a run is never later in raster order, so a root is
    its component's first run and numbering the roots as they come gives the wanted order.
    """
    # runs begin where the mask rises, and at most one more begins with each row
    capacity = mask.size // max(width, 1) + 1
    for i in range(1, mask.size):
        capacity += np.intp(mask[i] > mask[i - 1])
    start = np.empty(capacity, np.int64)
    stop = np.empty(capacity, np.int64)
    parent = np.empty(capacity, np.int64)
    runs = 0
    above = 0  # the first run that may touch the current one from the row above
    position = find_set(mask, words, 0, mask.size)
    while position < mask.size:
        begin = position
        row_end = (begin // width + 1) * width
        position = find_end(mask, words, begin, row_end)
        start[runs], stop[runs], parent[runs] = begin, position, runs
        # one pixel to the left and right, but not around the edge of the image
        low = max(begin - width - 1, row_end - 2 * width)
        high = min(position - width + 1, row_end - width)
        while stop[above] <= low:
            above += 1
        touching = above
        while touching < runs and start[touching] < high:
            _join(parent, touching, runs)
            touching += 1
        runs += 1
        position = find_set(mask, words, position, mask.size)
    size = np.zeros(runs, np.int64)
    for i in range(runs):
        parent[i] = parent[parent[i]]  # parents come earlier, so theirs already is a root
        size[parent[i]] += stop[i] - start[i]
    count = 0
    for i in range(runs):
        root = parent[i]
        if root == i:
            kept = size[i] >= min_size_px
            count += kept
            # from here on size holds the id, which later runs of the component look up
            size[i] = count if kept else 0
        labels[start[i] : stop[i]] = size[root]
    return count


@dataclass(frozen=True, eq=False)
class SegmentSummary:
    """
    What a message says about each segment; row k describes the segment with id k + 1.

    Attributes
    ----------
    class_id : ndarray of shape (K,), uint8
        Most frequent class of the segment's pixels, ties to the lowest.
    area_px : ndarray of shape (K,), int64
        Number of pixels.
    boxes : ndarray of shape (K, 4), int32
        x0, y0, width, height of the tight box [px]: columns x0..x0+width-1.
    score_mean, score_max : ndarray of shape (K,), float32
        Mean and maximum of the score, in its unit.

    """

    class_id: NDArray[np.uint8]
    area_px: NDArray[np.int64]
    boxes: NDArray[np.int32]
    score_mean: NDArray[np.float32]
    score_max: NDArray[np.float32]


def summarize_segments(
    segments: Segments, semantic: NDArray[np.uint8], score: NDArray[np.float32]
) -> SegmentSummary:
    """
    Return class, area, box and score of each segment, from one pass over the image.

    Parameters
    ----------
    segments : Segments
        Labels of shape (H, W).
    semantic : ndarray of shape (H, W), uint8
        Class of each pixel.
    score : ndarray of shape (H, W), float32
        What was thresholded, normalized entropy for one.

    Returns
    -------
    SegmentSummary

    """
    for name, image, dtype in (
        ('semantic', semantic, np.uint8),
        ('score', score, np.float32),
    ):
        if image.shape != segments.labels.shape or image.dtype != dtype:
            raise ValueError(
                f'{name} must be {np.dtype(dtype)} of shape {segments.labels.shape}, got '
                f'{image.dtype} of shape {image.shape}. Pass the maps that the segments come from.'
            )
    count = segments.count
    area = np.zeros(count, np.int64)
    corners = np.empty((count, 4), np.int32)
    score_sum = np.zeros(count)
    score_max = np.full(count, -np.inf, np.float32)
    votes = np.zeros((count, int(semantic.max(initial=0)) + 1), np.int32)
    images = (np.ascontiguousarray(image) for image in (segments.labels, semantic, score))
    known = _summarize(*images, area, corners, score_sum, score_max, votes)
    if not known:
        raise ValueError(
            f'segments.labels must lie in 0..count, got others with count={count}. '
            'Pass the Segments that find_segments returned, unchanged.'
        )
    boxes = corners.copy()
    boxes[:, 2:] += 1 - corners[:, :2]
    class_id = votes.argmax(1).astype(np.uint8)
    score_mean = np.minimum((score_sum / np.maximum(area, 1)).astype(np.float32), score_max)
    return SegmentSummary(class_id, area, boxes, score_mean, score_max)


@kernel(
    array(types.int32, 2), array(types.uint8, 2), array(types.float32, 2),
    array(types.int64, 1, readonly=False), array(types.int32, 2, readonly=False),
    array(types.float64, 1, readonly=False), array(types.float32, 1, readonly=False),
    array(types.int32, 2, readonly=False), returns=types.boolean,
)  # fmt: skip
def _summarize(labels, semantic, score, area, corners, score_sum, score_max, votes):  # type: ignore[no-untyped-def]
    """
    Fill the tables; return False for labels that are no segment's.

    corners holds first column, first row, last column, last row.
    """
    height, width = labels.shape
    known = True
    for y in range(height):
        ids, classes, values = labels[y], semantic[y], score[y]
        x = 0
        while known:
            while x < width and ids[x] == 0:
                x += 1
            if x == width:
                break
            begin, label = x, ids[x]
            while x < width and ids[x] == label:
                x += 1
            k = label - 1
            if k < 0 or k >= area.size:
                known = False
                break
            run_sum, run_max = np.float64(0.0), score_max[k]
            for q in range(begin, x):
                run_sum += values[q]
                run_max = values[q] if values[q] > run_max else run_max
            for q in range(begin, x):
                votes[k, classes[q]] += 1
            if area[k] == 0:
                corners[k, 0], corners[k, 1], corners[k, 2] = begin, y, x - 1
            corners[k, 0] = min(corners[k, 0], begin)
            corners[k, 2] = max(corners[k, 2], x - 1)
            corners[k, 3] = y
            area[k] += x - begin
            score_sum[k] += run_sum
            score_max[k] = run_max
    return known
