"""Segments recorded from a node + ground truth -> rows of the segment tables; no network runs."""

from __future__ import annotations

from meta_ood_ros.bags.bag import RecordedMessage
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.segment_metrics import metric_names
from meta_ood_training.datasets.sample import OOD
from meta_ood_training.scores.adjusted_iou import measure_adjusted_iou
from meta_ood_training.segments.extraction import (
    describe_frame,
    find_objects,
    object_columns,
    segment_columns,
)
from meta_ood_training.segments.labels import label_segments
from meta_ood_training.segments.recorded_segments import RecordedSegments, to_threshold
from meta_ood_training.segments.schemas import FrameRows
import numpy as np


def to_frame_rows(
    source: RecordedSegments,
    item: tuple[int, dict[str, RecordedMessage]],
    number: int,
    bundle: Bundle,
) -> FrameRows:
    """
    Return the rows of one recorded frame.

    Returns
    -------
    FrameRows
        Metrics as recorded, on the work grid; pixels are counted on the received image.

    """
    frame, message, labels, metrics = source.read(item)
    road = bundle.class_names.index('road') if 'road' in bundle.class_names else None
    objects = find_objects(frame.target, None)
    found = label_segments(
        labels,
        len(metrics),
        frame.target,
        objects,
        num_classes=bundle.num_classes,
        road=road,
    )
    iou = measure_adjusted_iou(labels, frame.target == OOD)
    threshold = to_threshold(message)
    names = metric_names(bundle.num_classes)
    # the node publishes only segments that are visible in the received image; where contours are
    # drawn instead, a later one may cover the last of them
    iou = np.concatenate([iou, np.zeros(len(metrics) - len(iou))])
    segments, overlaps = segment_columns(threshold, found, iou, names, metrics)
    return FrameRows(
        frame=describe_frame(
            frame, number, frame.target, num_classes=bundle.num_classes, road=road
        ),
        segments=segments,
        objects=object_columns(objects),
        overlaps=overlaps,
    )
