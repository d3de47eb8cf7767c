"""Explained segments -> the images they are in, each with its box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.files.image_file import write_image_file
from meta_ood_ros.core.image import resize_image
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.settings import PipelineSettings
from meta_ood_training.segments.extraction import run_network
from meta_ood_training.segments.frame_images import find_image
import numpy as np

ACCEPTED, REJECTED = (90, 220, 90), (255, 60, 60)
"""RGB of the boxes."""


def draw_decisions(
    folder: Path,
    decisions: Sequence[dict[str, Any]],
    sidecars: Sequence[Mapping[str, Any]],
    bundle: Bundle,
    entropy_threshold: float,
) -> list[str]:
    """
    Draw each image with the boxes of its explained segments, and give them `picture` and `box`.

    Returns
    -------
    list of str
        Which images are not drawn, and why.

    Notes
    -----
    The tables hold no pixels: the network runs once more on each image. A segment is drawn where
    it comes out with the number and the size that the table has.

    """
    notes = []
    pipeline = None
    names = dict.fromkeys(str(one['image']) for one in decisions)
    for number, name in enumerate(names, 1):
        image = find_image(sidecars, name, bundle)
        if image is None:
            notes.append(f'{name} is explained without a picture: it is not where it was.')
            continue
        pipeline = pipeline or OodPipeline(bundle)
        of_image = [one for one in decisions if one['image'] == name]
        picture = _draw(pipeline, image, of_image, entropy_threshold)
        if picture is None:
            notes.append(
                f'{name} is explained without a picture: its segments are not those that the '
                'network finds now.'
            )
            continue
        file = f'explained_{number:02d}.png'
        write_image_file(folder / file, picture[..., ::-1])
        for one in of_image:
            one['picture'] = file
    return notes


def _draw(
    pipeline: OodPipeline,
    image: np.ndarray,
    decisions: Sequence[dict[str, Any]],
    entropy_threshold: float,
) -> np.ndarray | None:
    # every segment, whatever a classifier of the bundle thinks of it
    settings = PipelineSettings(
        entropy_threshold=entropy_threshold, meta_threshold=0.0, core_threshold=0.0
    )
    logits, size = run_network(pipeline, image, settings)
    result = pipeline.from_logits(logits, size, settings=settings)
    sizes = np.bincount(result.segments.labels.ravel(), minlength=result.segments.count + 1)
    picture = np.ascontiguousarray(resize_image(image, size)).copy()
    drawn = 0
    for one in decisions:
        row = one['segment']
        if row > result.segments.count or sizes[row] != one['size_px']:
            continue
        x, y, width, height = result.summary.boxes[row - 1].tolist()
        one['box'] = [x, y, width, height]
        colour = ACCEPTED if one['accepted'] else REJECTED
        cv2.rectangle(picture, (x, y), (x + width, y + height), colour, 2)
        text = f'{row}: {one["ood_probability"]:.2f}'
        cv2.putText(picture, text, (x, max(y - 4, 12)), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1,
                    cv2.LINE_AA)  # fmt: skip
        drawn += 1
    return picture if drawn else None
