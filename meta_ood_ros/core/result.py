"""What the method says about one image, on the work grid and in the pixels of the image."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
import math
from typing import Any

from meta_ood_ros.core.received_grid import (
    locate_segments,
    SegmentPlaces,
    to_received_labels,
    to_received_values,
    trace_contours,
)
from meta_ood_ros.core.segment_metrics import SegmentMetrics
from meta_ood_ros.core.segments import Segments, SegmentSummary
import numpy as np

#: Class id of ignored pixels; vision_msgs calls it UNLABELED.
IGNORED = 255


@dataclass(frozen=True, eq=False, repr=False)
class OodResult:
    """
    What the pipeline says about one image; maps and segments live on the work grid.

    `to_image_size` has them in pixels of the image.

    Parameters
    ----------
    semantic : ndarray of shape (h, w), uint8
        Most probable class of each pixel; never changed by OoD.
    entropy : ndarray of shape (h, w), float32
        Normalized softmax entropy in [0, 1], or the bundle's other score in its place.
    max_probability : ndarray of shape (h, w), float32
        Largest softmax probability in (0, 1].
    segments : Segments
        What is published, K of them: 8-connected regions of entropy >= entropy_threshold, and
        with a core_threshold, in place of each accepted one its cores.
    metrics : SegmentMetrics
        (K, D), one row a segment: of a core, those of the segment it was judged in.
    ood_probability : ndarray of shape (K,), float32
        P(true OoD), of a core that of the segment it was judged in; NaN without meta classifier.
    accepted : ndarray of shape (K,), bool
        ood_probability >= meta_threshold, or no meta classifier.
    summary : SegmentSummary
        Class, box, size and score of each segment.
    entropy_threshold, meta_threshold : float
        As used for this image; segments are found and judged at entropy_threshold.
    core_threshold : float
        Where the accepted ones were cut into their cores; 0 = published as judged.
    classifier_threshold : float or None
        The entropy threshold at which the meta classifier used was fitted.
    score : str
        What `entropy` holds and the thresholds are of.
    image_size, work_size : (int, int)
        Height and width of the camera image and of the work grid, in pixels.
    ignored : ndarray of shape (h, w), bool, or None
        Where the ignore mask lies.
    milliseconds : dict of str to float
        Time of each stage.
    class_names : tuple of C str
        Those of the bundle; empty where nobody said.
    class_colors : tuple of C (int, int, int)
        RGB, for pictures; empty where nobody said.

    """

    semantic: np.ndarray
    entropy: np.ndarray
    max_probability: np.ndarray
    segments: Segments
    metrics: SegmentMetrics
    ood_probability: np.ndarray
    accepted: np.ndarray
    summary: SegmentSummary
    entropy_threshold: float
    meta_threshold: float
    classifier_threshold: float | None
    image_size: tuple[int, int]
    work_size: tuple[int, int]
    core_threshold: float = 0.0
    score: str = 'entropy'
    ignored: np.ndarray | None = None
    milliseconds: dict[str, float] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    class_colors: tuple[tuple[int, int, int], ...] = ()

    def __repr__(self) -> str:
        """Return sizes and counts in a line."""
        (height, width), (rows, columns) = self.image_size, self.work_size
        return (
            f'OodResult({height} x {width} px, work grid {rows} x {columns}, '
            f'{self.segments.count} segments, {int(self.accepted.sum())} accepted)'
        )

    @property
    def class_id(self) -> np.ndarray:
        """Return the most frequent class of each segment, (K,)."""
        return self.summary.class_id

    def locate(self) -> SegmentPlaces:
        """Return where each segment lies in the image, in its pixels, without making masks."""
        # the metrics of a core are those of the segment it was judged in, with its centroid
        if self.work_size != self.image_size or self.core_threshold:
            return locate_segments(self.segments.labels, self.segments.count, self.image_size)
        left, top, width, height = self.summary.boxes.T.astype(np.int64)
        return SegmentPlaces(
            area=self.summary.area_px,
            top=top,
            left=left,
            bottom=top + height - 1,
            right=left + width - 1,
            centroid_x=self.metrics['centroid_column'],
            centroid_y=self.metrics['centroid_row'],
        )

    def to_image_size(self, *, contour_tolerance: float = 0.0) -> ImageSizeResult:
        """
        Return maps and segments in pixels of the image, as the node publishes them.

        Parameters
        ----------
        contour_tolerance : float
            Largest distance in pixels between border and contour; 0 is exact.

        Returns
        -------
        ImageSizeResult
            Each of its parts is made when it is first asked for.

        """
        return ImageSizeResult(self, contour_tolerance)

    def to_dict(self, *, contours: bool = True) -> dict[str, Any]:
        """
        Return the segments in plain values, ready for JSON.

        Parameters
        ----------
        contours : bool
            Whether each segment carries its contour.

        Returns
        -------
        dict
            Sizes, thresholds, milliseconds and `segments`, one dict for each segment that is
            visible in the image: id (label of the segment), box (x, y, width, height), centroid
            (x, y) and contour (list of x, y) in pixels of the image, area_px, class_id,
            class_name where known, ood_probability (None without meta classifier), accepted,
            score_mean, score_max.

        """
        view = self.to_image_size()
        segments = []
        for row in map(int, np.flatnonzero(view.area_px)):
            class_id, probability = int(self.class_id[row]), float(self.ood_probability[row])
            segment = {
                'id': row + 1,
                'box': view.boxes[row].tolist(),
                'centroid': view.centroids[row].tolist(),
                'area_px': int(view.area_px[row]),
                'class_id': class_id,
                'class_name': self.class_names[class_id] if self.class_names else None,
                'ood_probability': None if math.isnan(probability) else probability,
                'accepted': bool(self.accepted[row]),
                'score_mean': float(self.summary.score_mean[row]),
                'score_max': float(self.summary.score_max[row]),
            }
            if contours:
                segment['contour'] = view.contours[row].tolist()
            segments.append(segment)
        return {
            'image_size': list(self.image_size),
            'work_size': list(self.work_size),
            'entropy_threshold': self.entropy_threshold,
            'meta_threshold': self.meta_threshold,
            'core_threshold': self.core_threshold,
            'milliseconds': dict(self.milliseconds),
            'segments': segments,
        }


def mark_ignored(result: OodResult) -> np.ndarray:
    """Return the class of each work pixel, IGNORED under the mask."""
    if result.ignored is None:
        return result.semantic
    return np.where(result.ignored, np.uint8(IGNORED), result.semantic)


def fill_entropy(result: OodResult, out: np.ndarray) -> None:
    """Write the entropy in pixels of the image, 0 under the mask."""
    to_received_values(result.entropy, out.shape, out=out)
    if result.ignored is not None:  # after scaling, which would mix both sides
        out[to_received_labels(result.ignored, out.shape)] = 0.0


@dataclass(frozen=True, eq=False, repr=False)
class ImageSizeResult:
    """
    An `OodResult` in pixels of the image (H, W); row k of the K segments is the result's row k.

    A segment so thin that no pixel of a smaller image falls on it has area 0, box 0, centroid
    NaN and an empty contour. Do not write into the arrays: they may be those of the result.

    Attributes
    ----------
    result : OodResult
        What it shows.
    semantic : ndarray of shape (H, W), uint8
        Class ids; 255 under the ignore mask.
    entropy : ndarray of shape (H, W), float32
        In [0, 1]; 0 under the ignore mask.
    labels : ndarray of shape (H, W), int32
        0, or k + 1 where segment k lies.
    boxes : ndarray of shape (K, 4), int64
        x, y, width, height in pixels.
    centroids : ndarray of shape (K, 2), float64
        x, y in pixels.
    area_px : ndarray of shape (K,), int64
        Pixels.
    contours : tuple of K ndarrays of shape (P, 2), int32
        Outer borders, x and y, clockwise as seen, not closed.
    ood_probability, accepted, class_id : ndarray of shape (K,)
        As in the result.

    """

    result: OodResult
    contour_tolerance: float = 0.0

    def __repr__(self) -> str:
        """Return the result's line under this name."""
        return repr(self.result).replace('OodResult', 'ImageSizeResult', 1)

    def mask(self, row: int) -> np.ndarray:
        """Return where segment `row` lies, (H, W) bool."""
        count = self.result.segments.count
        if not 0 <= row < count:
            raise IndexError(
                f'row must lie in 0..{count - 1}, got {row}. There are {count} segments.'
            )
        return self.labels == row + 1

    @cached_property
    def semantic(self) -> np.ndarray:
        """Return class ids, 255 under the ignore mask."""
        return to_received_labels(mark_ignored(self.result), self.result.image_size)

    @cached_property
    def entropy(self) -> np.ndarray:
        """Return entropy in [0, 1], 0 under the ignore mask."""
        entropy = np.empty(self.result.image_size, np.float32)
        fill_entropy(self.result, entropy)
        return entropy

    @cached_property
    def labels(self) -> np.ndarray:
        """Return 0, or k + 1 where segment k lies."""
        return to_received_labels(self.result.segments.labels, self.result.image_size)

    @cached_property
    def _places(self) -> SegmentPlaces:
        return self.result.locate()

    @property
    def area_px(self) -> np.ndarray:
        """Return the number of pixels of each segment."""
        return self._places.area

    @cached_property
    def boxes(self) -> np.ndarray:
        """Return x, y, width and height of each segment."""
        at = self._places
        sides = (at.left, at.top, at.right - at.left + 1, at.bottom - at.top + 1)
        return np.where(at.area[:, None] > 0, np.stack(sides, axis=1), 0)

    @cached_property
    def centroids(self) -> np.ndarray:
        """Return x and y of the centre of each segment."""
        at = self._places
        centroids = np.stack((at.centroid_x, at.centroid_y), axis=1)
        return np.where(at.area[:, None] > 0, centroids, np.nan)

    @cached_property
    def contours(self) -> tuple[np.ndarray, ...]:
        """Return the outer border of each segment, x and y."""
        segments = self.result.segments
        chosen = np.arange(segments.count + 1) > 0
        found = trace_contours(
            segments.labels, chosen, self.result.image_size, tolerance=self.contour_tolerance
        )
        nothing = np.empty((0, 2), np.int32)
        return tuple(found.get(row + 1, nothing) for row in range(segments.count))

    @property
    def ood_probability(self) -> np.ndarray:
        """Return P(true OoD) of each segment."""
        return self.result.ood_probability

    @property
    def accepted(self) -> np.ndarray:
        """Return which segments are accepted."""
        return self.result.accepted

    @property
    def class_id(self) -> np.ndarray:
        """Return the most frequent class of each segment."""
        return self.result.class_id
