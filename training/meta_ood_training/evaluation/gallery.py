"""Published segments + labelled images -> one picture of the images with most errors."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
from meta_ood_ros.core.image import resize_image
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.result import OodResult
from meta_ood_ros.core.settings import PipelineSettings
from meta_ood_ros.demo.contact_sheet import ContactSheet
from meta_ood_training.datasets import SampleDataset
from meta_ood_training.evaluation.deployed import PublishedDecisions, SMALLEST_PX
from meta_ood_training.meta.judging.segment_errors import measure_siou
from meta_ood_training.scores.components import FOUND_SIOU
from meta_ood_training.segments.extraction import find_objects, resize_labels, run_network
import numpy as np

FOUND, MISSED, TRUE, FALSE = (90, 220, 90), (255, 60, 60), (255, 220, 60), (255, 80, 255)
"""Outlines of objects, RGB, and of accepted segments."""


def draw_gallery(
    pipeline: OodPipeline,
    dataset: SampleDataset,
    settings: PipelineSettings,
    decisions: PublishedDecisions,
    *,
    indices: Sequence[int],
    count: int,
    title: str,
) -> np.ndarray | None:
    """
    Return the images with most false segments and missed objects, worst first.

    Parameters
    ----------
    decisions : PublishedDecisions
        Of the images `indices` of the data set, in this order, by these settings.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8, or None
        RGB; None where there is no error.

    """
    segments, accepted = decisions.segments, decisions.accepted
    siou = measure_siou(segments, accepted)
    is_missed = (siou < FOUND_SIOU) & (segments.object_size_px >= SMALLEST_PX)
    frames = len(segments.frame_name)
    false = np.bincount(segments.segment_frame[accepted & ~segments.is_true_ood], minlength=frames)
    missed = np.bincount(segments.object_frame[is_missed], minlength=frames)
    order = np.argsort(-(false + missed), kind='stable')[:count]
    order = order[(false + missed)[order] > 0]
    sheet = ContactSheet(len(order))
    for frame in order.tolist():
        sample = dataset[indices[frame]]
        logits, size = run_network(pipeline, sample.image, settings)
        result = pipeline.from_logits(logits, size, settings=settings)
        objects = find_objects(resize_labels(sample.target, size), None)
        of_frame = segments.object_frame == frame
        number = segments.object_number[of_frame]
        found = dict(zip(number.tolist(), (siou[of_frame] >= FOUND_SIOU).tolist(), strict=True))
        picture = np.ascontiguousarray(resize_image(sample.image, size)).copy()
        _outline_segments(picture, result, objects)
        for one, is_found in found.items():
            _outline(picture, objects == one, FOUND if is_found else MISSED)
        sheet.add(picture, f'{sample.name}: {false[frame]} false, {missed[frame]} missed')
    return sheet.draw(title)


def _outline_segments(picture: np.ndarray, result: OodResult, objects: np.ndarray) -> None:
    for row in np.flatnonzero(result.accepted).tolist():
        x, y, width, height = result.summary.boxes[row].tolist()
        box = np.s_[y : y + height, x : x + width]
        inside = result.segments.labels[box] == row + 1
        is_true = bool((objects[box][inside] > 0).any())
        _outline(picture, inside, TRUE if is_true else FALSE, at=(x, y))


def _outline(
    picture: np.ndarray,
    inside: np.ndarray,
    colour: tuple[int, int, int],
    at: tuple[int, int] = (0, 0),
) -> None:
    contours, _ = cv2.findContours(
        inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=at
    )
    cv2.drawContours(picture, contours, -1, colour, 2)
