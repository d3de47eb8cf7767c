"""Records of all frames -> one file: JSON lines or Parquet, a row a segment, and COCO."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import json
from pathlib import Path
from typing import Any

from meta_ood_ros.core.files.whole_files import replace_whole, write_whole
import pyarrow as pa
import pyarrow.parquet as pq

FORMATS = ('jsonl', 'parquet')

SCHEMA = pa.schema(
    [
        ('frame', pa.string()),
        ('id', pa.int32()),
        ('box', pa.list_(pa.int32(), 4)),
        ('centroid', pa.list_(pa.float64(), 2)),
        ('area_px', pa.int64()),
        ('class_id', pa.int32()),
        ('class_name', pa.string()),
        ('ood_probability', pa.float64()),
        ('accepted', pa.bool_()),
        ('score_mean', pa.float64()),
        ('score_max', pa.float64()),
    ]
)
"""Columns of segments.parquet; JSON lines have the same keys."""

UNKNOWN = {'id': 1, 'name': 'unknown', 'supercategory': 'ood'}


def write_table(output: Path, records: Iterable[dict[str, Any]], kind: str) -> Path:
    """Write segments.jsonl or segments.parquet, and return its path."""
    path = output / f'segments.{kind}'
    with replace_whole(path) as stream:
        if kind == 'jsonl':
            for row in to_rows(records):
                stream.write((json.dumps(row, allow_nan=False) + '\n').encode())
        else:
            with pq.ParquetWriter(stream, SCHEMA) as writer:
                for record in records:
                    rows = list(to_rows([record]))
                    if rows:
                        writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
    return path


def to_rows(records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield one row for each segment, in the order of the frames and of the segments."""
    for record in records:
        for segment in record['segments']:
            yield {'frame': record['frame'], **{key: segment[key] for key in SCHEMA.names[1:]}}


def write_coco(output: Path, records: Iterable[dict[str, Any]]) -> Path:
    """Write coco.json: accepted segments as objects of one category, and return its path."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, record in enumerate(records, start=1):
        height, width = record['image_size']
        images.append(
            {'id': number, 'file_name': record['frame'], 'height': height, 'width': width}
        )
        for segment in record['segments']:
            if not segment['accepted']:
                continue
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': number,
                    'category_id': UNKNOWN['id'],
                    'bbox': segment['box'],
                    'area': segment['area_px'],
                    'segmentation': segment['polygons'],
                    'iscrowd': 0,
                    'score': segment['ood_probability'],
                    'segment_id': segment['id'],
                }
            )
    content = {'images': images, 'annotations': annotations, 'categories': [UNKNOWN]}
    write_whole(output / 'coco.json', json.dumps(content, allow_nan=False) + '\n')
    return output / 'coco.json'
