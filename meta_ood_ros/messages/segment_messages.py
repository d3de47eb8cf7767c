"""OodResult -> the messages about segments: which are published, where they lie, what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meta_ood_msgs.msg import OodSegment, OodSegmentArray
from meta_ood_ros.core.received_grid import SegmentPlaces, trace_contours
from meta_ood_ros.core.result import OodResult
from meta_ood_ros.core.settings import NodeSettings
import numpy as np
from std_msgs.msg import Header

#: Largest id that ~/segment_ids (mono16) can show.
MAX_ID = 65535


@dataclass(frozen=True, eq=False)
class PublishedSegments:
    """
    The segments of one frame that leave the node.

    Parameters
    ----------
    rows : ndarray of shape (N,), int64
        Their rows in the result, ascending; the segment of row k has label k + 1.
    ids : ndarray of shape (K + 1,), uint16
        Label -> id in messages; 0 where the segment is not published.
    found, rejected : int
        Number of segments that are visible in the received image, and of those not accepted.

    """

    rows: np.ndarray
    ids: np.ndarray
    places: SegmentPlaces
    found: int
    rejected: int


def choose_segments(
    result: OodResult, *, publish_rejected: bool, max_segments: int
) -> PublishedSegments:
    """Return which segments are published: the accepted ones, or all; the largest if too many."""
    places = result.locate()
    visible = places.area > 0
    rows = np.flatnonzero(visible if publish_rejected else visible & result.accepted)
    if rows.size > max_segments:
        # Stable: of segments of equal area the first in the image stay.
        by_area = np.argsort(-places.area[rows], kind='stable')
        rows = np.sort(rows[by_area[:max_segments]])
    ids = np.zeros(result.segments.count + 1, np.uint16)
    # Ids are kept; only where they do not fit 16 bits are the published ones numbered anew.
    fits = rows.size == 0 or rows[-1] < MAX_ID
    ids[rows + 1] = rows + 1 if fits else np.arange(1, rows.size + 1)
    return PublishedSegments(
        rows=rows,
        ids=ids,
        places=places,
        found=int(np.count_nonzero(visible)),
        rejected=int(np.count_nonzero(visible & ~result.accepted)),
    )


def to_segment_array(
    result: OodResult,
    published: PublishedSegments,
    settings: NodeSettings,
    *,
    header: Header,
    camera: str,
    model_id: str,
    class_names: Sequence[str],
) -> OodSegmentArray:
    """Return the message about all published segments of one frame."""
    message = OodSegmentArray(
        header=header,
        camera=camera,
        height=result.image_size[0],
        width=result.image_size[1],
        work_height=result.work_size[0],
        work_width=result.work_size[1],
        model_id=model_id,
        score=result.score,
        score_threshold=float(result.entropy_threshold),
        meta_threshold=float(result.meta_threshold),
        class_names=list(class_names),
        segments_found=published.found,
        segments_rejected=published.rejected,
    )
    contours: Mapping[int, np.ndarray] = {}
    if settings.publish_contours:
        contours = trace_contours(
            result.segments.labels,
            published.ids > 0,
            result.image_size,
            tolerance=settings.contour_tolerance,
        )
    metrics = None
    if settings.publish_metrics:
        message.metric_names = list(result.metrics.names)
        metrics = result.metrics.values[published.rows].astype(np.float32)
    message.segments = _to_segments(result, published, contours, metrics)
    return message


def _to_segments(
    result: OodResult,
    published: PublishedSegments,
    contours: Mapping[int, np.ndarray],
    metrics: np.ndarray | None,
) -> list[OodSegment]:
    rows, places, summary = published.rows, published.places, result.summary

    def column(values: np.ndarray) -> list:  # numpy scalars are refused by messages
        return values[rows].tolist()

    segments = []
    for position, (row, *values) in enumerate(
        zip(
            rows.tolist(),
            published.ids[rows + 1].tolist(),
            column(places.top),
            column(places.left),
            column(places.bottom - places.top + 1),
            column(places.right - places.left + 1),
            column(places.centroid_x),
            column(places.centroid_y),
            column(places.area),
            column(result.class_id),
            column(result.ood_probability),
            column(result.accepted),
            column(summary.score_mean),
            column(summary.score_max),
            strict=True,
        )
    ):
        segment = OodSegment()
        (
            segment.id,
            segment.roi.y_offset,
            segment.roi.x_offset,
            segment.roi.height,
            segment.roi.width,
            segment.centroid_x,
            segment.centroid_y,
            segment.area_px,
            segment.class_id,
            segment.ood_probability,
            segment.accepted,
            segment.score_mean,
            segment.score_max,
        ) = values
        # Written into the arrays the message was born with: an assignment would copy once more.
        contour = contours.get(row + 1)
        if contour is not None:
            x, y = contour.T.astype(np.uint16)
            segment.contour_x.frombytes(x.tobytes())
            segment.contour_y.frombytes(y.tobytes())
        if metrics is not None:
            segment.metrics.frombytes(metrics[position].tobytes())
        segments.append(segment)
    return segments
