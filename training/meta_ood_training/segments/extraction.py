"""Bundle + labelled image -> rows of the segment tables, for several entropy thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
from meta_ood_ros.core.bundle import Bundle, LABEL_RULES
from meta_ood_ros.core.decision import publish_cores
from meta_ood_ros.core.image import to_network_input
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.segments import find_segments, Segments
from meta_ood_ros.core.settings import PipelineSettings
from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD
from meta_ood_training.scores.adjusted_iou import measure_adjusted_iou
from meta_ood_training.segments.labelled_frames import LabelledFrame
from meta_ood_training.segments.labels import label_segments, SegmentLabels
from meta_ood_training.segments.schemas import FrameRows
import numpy as np
from torch import Tensor


class SegmentExtractor:
    """
    Finds, measures and labels the OoD segments of images as the node would.

    Parameters
    ----------
    label_rule : str
        'deployed': segments of the whole image, their truth from pixels that are not void.
        'published': predictions on void are erased before segments are formed.
    core_thresholds : sequence of float
        Each cuts the segments of the entropy thresholds below it, as if all were accepted: the
        cores of one do not depend on which others are.

    """

    def __init__(
        self,
        bundle: Bundle,
        entropy_thresholds: Sequence[float],
        *,
        core_thresholds: Sequence[float] = (),
        label_rule: str = 'deployed',
        device: str = 'cpu',
        backend: str = 'auto',
        precision: str = 'auto',
    ) -> None:
        if label_rule not in LABEL_RULES:
            raise ValueError(
                f'label_rule must be one of {", ".join(LABEL_RULES)}, got {label_rule!r}.'
            )
        self.bundle = bundle
        self.label_rule = label_rule
        self.entropy_thresholds = tuple(entropy_thresholds)
        # each threshold as a setting: refuses 70.0 with the sentence of the settings
        # and each without cores: a classifier is fitted on the segments that it will judge
        self._settings = [
            PipelineSettings(entropy_threshold=one, core_threshold=0.0)
            for one in entropy_thresholds
        ]
        self.core_thresholds = tuple(core_thresholds)
        for core in core_thresholds:
            PipelineSettings(core_threshold=core)
            if core <= min(entropy_thresholds):
                raise ValueError(
                    f'--core-threshold must be above an entropy threshold, got {core:g} and '
                    f'{", ".join(f"{one:g}" for one in entropy_thresholds)}: it would cut '
                    'nothing. Raise it or leave it out.'
                )
        self._pipeline = OodPipeline(bundle, device=device, backend=backend, precision=precision)
        self._road = bundle.class_names.index('road') if 'road' in bundle.class_names else None

    def __call__(self, frame: LabelledFrame, number: int) -> FrameRows:
        """Return the rows of one image."""
        pipeline, bundle = self._pipeline, self.bundle
        logits, size = run_network(pipeline, frame.image)
        target = resize_labels(frame.target, size)
        objects = find_objects(
            target, None if frame.instances is None else resize_labels(frame.instances, size)
        )
        erased = target == IGNORED if self.label_rule == 'published' else None
        pieces, parts = [], []
        for threshold, settings in zip(self.entropy_thresholds, self._settings, strict=True):
            result = pipeline.from_logits(logits, size, settings=settings, ignore_mask=erased)
            found, iou = self._label(result.segments, target, objects)
            metrics = result.metrics
            pieces.append(segment_columns(threshold, found, iou, metrics.names, metrics.values))
            everything = np.ones(result.segments.count, dtype=bool)
            for core in self.core_thresholds:
                if core > threshold:
                    published, row = publish_cores(
                        result.segments,
                        everything,
                        result.entropy,
                        core,
                        min_size_px=bundle.min_size_px,
                    )
                    found, iou = self._label(published, target, objects)
                    parts.append(published_columns(threshold, core, row, found, iou))
        return FrameRows(
            frame=describe_frame(
                frame, number, target, num_classes=bundle.num_classes, road=self._road
            ),
            segments=_join([segments for segments, _ in pieces]),
            objects=object_columns(objects),
            overlaps=_join([overlaps for _, overlaps in pieces]),
            published=_join([published for published, _ in parts]),
            published_overlaps=_join([overlaps for _, overlaps in parts]),
        )

    def _label(
        self, segments: Segments, target: np.ndarray, objects: np.ndarray
    ) -> tuple[SegmentLabels, np.ndarray]:
        """Return what the target says about segments, and the adjusted IoU of each, (K,)."""
        found = label_segments(
            segments.labels,
            segments.count,
            target,
            objects,
            num_classes=self.bundle.num_classes,
            road=self._road,
        )
        return found, measure_adjusted_iou(segments.labels, target == OOD)


def run_network(
    pipeline: OodPipeline, image: np.ndarray, settings: PipelineSettings | None = None
) -> tuple[Tensor, tuple[int, int]]:
    """Return the logits (C, h', w') of an image, and its work size: `from_logits` goes on."""
    size = pipeline.work_size(image.shape[:2], settings)
    x = to_network_input(
        image,
        size,
        mean=pipeline.bundle.input_mean,
        std=pipeline.bundle.input_std,
        device=pipeline.backend.device,
    )
    return pipeline.backend(x)[0], size


def find_objects(target: np.ndarray, instances: np.ndarray | None) -> np.ndarray:
    """
    Return the objects that should be found.

    Parameters
    ----------
    target : ndarray of shape (H, W), uint8
        OOD = 254 on objects.
    instances : ndarray of shape (H, W), int, or None
        Their ids where they are known.

    Returns
    -------
    ndarray of shape (H, W), int32
        0, or 1..M without gaps: instances that are visible, else 8-connected components.

    """
    if instances is None:
        return find_segments(target == OOD).labels
    seen = np.unique(instances[(target == OOD) & (instances > 0)])
    number = np.zeros(int(instances.max(initial=0)) + 1, dtype=np.int32)
    number[seen] = np.arange(1, len(seen) + 1)
    return np.where(target == OOD, number[instances], 0)


def describe_frame(
    frame: LabelledFrame, number: int, target: np.ndarray, *, num_classes: int, road: int | None
) -> dict[str, Any]:
    """Return the row of the table `frames`; target (h, w) on the grid of the segments."""
    count = np.bincount(target.ravel(), minlength=256)
    return {
        'frame': number,
        'image': frame.name,
        'group': frame.group,
        'split': frame.split,
        'stamp_ns': frame.stamp_ns,
        'height': target.shape[0],
        'width': target.shape[1],
        'road_px': 0 if road is None else int(count[road]),
        'in_distribution_px': int(count[:num_classes].sum() + count[IN_DISTRIBUTION]),
        'ood_px': int(count[OOD]),
        'void_px': int(count[IGNORED]),
    }


def object_columns(objects: np.ndarray) -> dict[str, np.ndarray]:
    """Return the rows of the table `objects` of one image."""
    size = np.bincount(objects.ravel(), minlength=1)[1:]
    return {'object': np.arange(1, len(size) + 1), 'size_px': size}


def segment_columns(
    threshold: float, found: SegmentLabels, iou: np.ndarray, names: Sequence[str], values: Any
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the rows of `segments` and `overlaps` of one image at one threshold."""
    segments = {
        'entropy_threshold': np.full(len(iou), threshold),
        'segment': np.arange(1, len(iou) + 1),
        **_covered_columns(found, iou),
        **{name: values[:, column] for column, name in enumerate(names)},
    }
    overlaps = {
        'entropy_threshold': np.full(len(found.overlap_px), threshold),
        'segment': found.overlap_segment,
        'object': found.overlap_object,
        'overlap_px': found.overlap_px,
    }
    return segments, overlaps


def published_columns(
    threshold: float, core: float, row: np.ndarray, found: SegmentLabels, iou: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """
    Return the rows of `published` and `published_overlaps` of one image at two thresholds.

    Parameters
    ----------
    row : ndarray of shape (N,), int64
        Of the judged segment that each published one comes from, from 0.

    """
    published = {
        'entropy_threshold': np.full(len(row), threshold),
        'core_threshold': np.full(len(row), core),
        'segment': row + 1,
        'published': np.arange(1, len(row) + 1),
        **_covered_columns(found, iou),
    }
    overlaps = {
        'entropy_threshold': np.full(len(found.overlap_px), threshold),
        'core_threshold': np.full(len(found.overlap_px), core),
        'published': found.overlap_segment,
        'object': found.overlap_object,
        'overlap_px': found.overlap_px,
    }
    return published, overlaps


def _covered_columns(found: SegmentLabels, iou: np.ndarray) -> dict[str, np.ndarray]:
    return {
        'is_true_ood': found.is_true_ood,
        'adjusted_iou': iou,
        'size_px': found.size_px,
        'void_px': found.void_px,
        'ood_px': found.ood_px,
        'road_px': found.road_px,
        'in_distribution_px': found.in_distribution_px,
        'left_out': found.left_out,
    }


def _join(pieces: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    names = pieces[0] if pieces else ()
    return {name: np.concatenate([one[name] for one in pieces]) for name in names}


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return labels on the work grid, nearest neighbour."""
    if labels.shape == size:
        return labels
    kind = np.uint8 if labels.dtype == np.uint8 else np.float64
    # not INTER_NEAREST, which takes corners for centres: half a pixel of the smaller grid off
    exact = cv2.INTER_NEAREST_EXACT
    resized = cv2.resize(labels.astype(kind), (size[1], size[0]), interpolation=exact)
    return resized.astype(labels.dtype)
