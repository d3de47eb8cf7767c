"""The place of segments in a depth image, against numpy on the whole image."""

import cv2
from meta_ood_ros.core.places import CameraModel, locate_in_depth, segment_points
from meta_ood_ros.core.segments import find_segments, Segments, summarize_segments
import numpy as np

from benchmarks.figures.comparison import compare_times, Comparison, Options, time_in_turns

TITLE = '3D of segments'
SIZE = (720, 1280)
SEGMENTS = 20
LIMIT_MS = 3.0


def measure(options: Options) -> list[Comparison]:
    """Return two rows for 20 segments in a 1280x720 depth image of 16 bits."""
    segments = _segments()
    depth = _depth()
    camera = CameraModel.from_calibration(SIZE, (900, 0, 639.5, 0, 900, 359.5, 0, 0, 1))
    empty = np.zeros(SIZE, np.uint8)
    boxes = summarize_segments(segments, empty, empty.astype(np.float32)).boxes
    ids = np.arange(1, segments.count + 1, dtype=np.int32)
    probability = np.full(segments.count, 0.9, np.float32)

    def places() -> np.ndarray:
        return locate_in_depth(segments.labels, ids, boxes, depth, camera).positions

    def points() -> np.ndarray:
        return segment_points(
            segments.labels, ids, boxes, probability, depth, camera, stride=2, max_range=30.0
        )

    def naive() -> np.ndarray:
        return _locate_naively(segments, depth, camera)

    difference = float(np.linalg.norm(places() - naive(), axis=1).max())
    if not difference < 0.1:
        raise ValueError(
            f'places must agree with their baseline to 0.1 m, got {difference:.2g} m. '
            'Times of different results say nothing: run the tests.'
        )
    rounds = max(options.rounds, 5)
    times = time_in_turns({'places': places, 'points': points, 'naive': naive}, rounds)
    share = float((segments.labels > 0).mean())
    case = f'{segments.count} segments, {share:.1%} of {SIZE[0]}x{SIZE[1]}'
    details = {'largest_difference_m': difference, 'limit_ms': LIMIT_MS}
    baseline = 'numpy: points of the whole image, one mask a segment'
    return [
        compare_times(
            case, 'locate_in_depth', baseline, (times['places'], times['naive']), target=10.0,
            details=details,
        ),
        compare_times(
            case, 'segment_points, stride 2', baseline, (times['points'], times['naive'])
        ),
    ]  # fmt: skip


def _segments() -> Segments:
    mask = np.zeros(SIZE, np.uint8)
    for number in range(SEGMENTS):
        centre = 120 + number % 5 * 260, 90 + number // 5 * 175
        cv2.ellipse(mask, centre, (25 + 3 * number, 20 + 2 * number), 0, 0, 360, 1, -1)
    return find_segments(mask.astype(bool))


def _depth() -> np.ndarray:
    """Return a slanted plane with the noise and the holes of a depth camera [mm]."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices(SIZE)
    depth = 6000 + 2.0 * columns + 1.0 * rows + rng.normal(0, 50, SIZE)
    depth[rng.random(SIZE) < 0.1] = 0
    return depth.astype(np.uint16)


def _locate_naively(segments: Segments, depth: np.ndarray, camera: CameraModel) -> np.ndarray:
    z = depth.astype(np.float32) / 1000
    x, y = camera.rays[..., 0] * z, camera.rays[..., 1] * z
    cloud = np.stack([x, y, z], axis=2)
    places = np.empty((segments.count, 3))
    for k in range(segments.count):
        chosen = cloud[(segments.labels == k + 1) & (z > 0)]
        places[k] = np.median(chosen, axis=0)
    return places
