"""What the tables of segments hold: the columns of each, and what one image adds to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

#: What is published of segments, for each core threshold; folders written before have neither.
CORE_TABLES = ('published', 'published_overlaps')
TABLES = ('segments', 'frames', 'objects', 'overlaps', *CORE_TABLES)

FRAME_FIELDS = [
    ('frame', pa.int64()),
    ('image', pa.string()),
    ('group', pa.string()),
    ('split', pa.string()),
    ('stamp_ns', pa.int64()),
]
_COVERED_FIELDS = [
    ('is_true_ood', pa.bool_()),
    ('adjusted_iou', pa.float64()),
    ('size_px', pa.int64()),
    ('void_px', pa.int64()),
    ('ood_px', pa.int64()),
    ('road_px', pa.int64()),
    ('in_distribution_px', pa.int64()),
    ('left_out', pa.bool_()),
]
_SEGMENT_FIELDS = [
    *FRAME_FIELDS,
    ('entropy_threshold', pa.float64()),
    ('segment', pa.int32()),
    *_COVERED_FIELDS,
]
_CORE_FIELDS = [
    ('frame', pa.int64()),
    ('entropy_threshold', pa.float64()),
    ('core_threshold', pa.float64()),
]
SCHEMAS = {
    'frames': pa.schema(
        [
            *FRAME_FIELDS,
            ('height', pa.int32()),
            ('width', pa.int32()),
            ('road_px', pa.int64()),
            ('in_distribution_px', pa.int64()),
            ('ood_px', pa.int64()),
            ('void_px', pa.int64()),
        ]
    ),
    'objects': pa.schema([('frame', pa.int64()), ('object', pa.int32()), ('size_px', pa.int64())]),
    'overlaps': pa.schema(
        [
            ('frame', pa.int64()),
            ('entropy_threshold', pa.float64()),
            ('segment', pa.int32()),
            ('object', pa.int32()),
            ('overlap_px', pa.int64()),
        ]
    ),
    'published': pa.schema(
        [*_CORE_FIELDS, ('segment', pa.int32()), ('published', pa.int32()), *_COVERED_FIELDS]
    ),
    'published_overlaps': pa.schema(
        [
            *_CORE_FIELDS,
            ('published', pa.int32()),
            ('object', pa.int32()),
            ('overlap_px', pa.int64()),
        ]
    ),
}


def segment_schema(metric_names: Sequence[str]) -> pa.Schema:
    """Return the columns of the segment table: what is known of a segment, then its metrics."""
    return pa.schema([*_SEGMENT_FIELDS, *((name, pa.float64()) for name in metric_names)])


@dataclass(frozen=True)
class FrameRows:
    """What one image adds to the tables; nothing to those of cores where none were asked for."""

    frame: Mapping[str, Any]
    segments: Mapping[str, Any]
    objects: Mapping[str, Any]
    overlaps: Mapping[str, Any]
    published: Mapping[str, Any] = field(default_factory=dict)
    published_overlaps: Mapping[str, Any] = field(default_factory=dict)
