"""OodResult -> the files of one frame: pictures, then the record that says they are whole."""

from __future__ import annotations

from collections.abc import Sequence
import json
from pathlib import Path
from typing import Any

import cv2
from meta_ood_ros.core.files.whole_files import write_whole
from meta_ood_ros.core.pictures import draw_overlay, ResultPictures
from meta_ood_ros.core.result import OodResult
from meta_ood_training.prediction.benchmark_files import Benchmark
from meta_ood_training.prediction.polygons import outline_segments
import numpy as np

RECORDS = 'frames'
"""Folder of the records."""

PICTURES = ('overlay', 'entropy', 'semantic', 'segment_ids')
"""What can be drawn of a frame; each has a folder of its own."""

LARGEST_ID = 65535
"""What a PNG of 16 bits can show."""

# Of 1 to 9: twice as fast as the default of OpenCV, and files a few per cent larger.
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)


def record_path(output: Path, name: str) -> Path:
    """Return where the record of a frame lies."""
    return output / RECORDS / f'{name}.json'


def write_frame(
    output: Path,
    name: str,
    image: np.ndarray,
    result: OodResult,
    *,
    pictures: Sequence[str],
    polygons: bool,
    benchmark: Benchmark,
) -> dict[str, Any]:
    """Write the pictures of a frame and its record, and return that."""
    for kind in pictures:
        is_good, code = cv2.imencode('.png', draw(kind, image, result), _PNG)
        assert is_good, kind
        write_whole(output / kind / f'{name}.png', code.tobytes())
    if benchmark.write:
        maps = fill_maps(result, image, 'entropy', 'semantic')
        benchmark.write(output, name, maps['entropy'], maps['semantic'])
    record = to_record(name, result, polygons=polygons)
    write_whole(record_path(output, name), json.dumps(record, allow_nan=False) + '\n')
    return record


def to_record(name: str, result: OodResult, *, polygons: bool) -> dict[str, Any]:
    """Return sizes, thresholds and segments of a frame, equal however often it is computed."""
    record = result.to_dict(contours=False)
    del record['milliseconds']
    if polygons:
        outlines = outline_segments(result)
        for segment in record['segments']:
            segment['polygons'] = outlines[segment['id'] - 1]
    return {'frame': name, **record}


def draw(kind: str, image: np.ndarray, result: OodResult) -> np.ndarray:
    """
    Return one of PICTURES as it is stored.

    Returns
    -------
    ndarray of shape (H, W) or (H, W, 3)
        `overlay` BGR uint8; `semantic` class ids uint8, 255 ignored; `entropy` uint16, 65535 is 1;
        `segment_ids` uint16, 0 where no segment is, or one whose id exceeds LARGEST_ID.

    """
    if kind == 'overlay':
        return cv2.cvtColor(draw_overlay(image, result), cv2.COLOR_RGB2BGR)
    pixels = fill_maps(result, image, kind)[kind]
    if kind == 'entropy':
        return np.rint(pixels * np.float32(65535)).astype(np.uint16)
    return pixels


def fill_maps(result: OodResult, image: np.ndarray, *kinds: str) -> dict[str, np.ndarray]:
    """Return maps of a result by name, (H, W) at the size of the image."""
    ids = np.arange(result.segments.count + 1)
    drawn = ResultPictures(
        result,
        np.where(ids > LARGEST_ID, 0, ids).astype(np.uint16),
        image=image,
        palette=np.array(result.class_colors, np.uint8).reshape(-1, 3),
        overlay_alpha=0.0,
    )
    types = {'entropy': np.float32, 'semantic': np.uint8, 'segment_ids': np.uint16}
    maps = {kind: np.zeros(result.image_size, types[kind]) for kind in kinds}
    for kind, pixels in maps.items():
        drawn.fill(kind, pixels)
    return maps
