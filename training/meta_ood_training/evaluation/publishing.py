"""Bundle + labelled images -> the segments that the node would publish, by decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.result import OodResult
from meta_ood_ros.core.settings import FROM_BUNDLE, PipelineSettings
from meta_ood_training.datasets import Sample, SampleDataset
from meta_ood_training.evaluation.deployed import PublishedDecisions
from meta_ood_training.evaluation.pixel_evaluation import below
from meta_ood_training.segments.extraction import find_objects, resize_labels, run_network
from meta_ood_training.segments.labels import label_segments
from meta_ood_training.segments.segment_set import SegmentSet
import numpy as np


def parse_decision(text: str) -> tuple[str, PipelineSettings]:
    """Return title and settings of `[TITLE=]ENTROPY[:META[:CORE]]`; nothing is the bundle's."""
    title, equals, values = text.partition('=')
    parts = (values if equals else text).split(':')
    try:
        numbers = [float(part) if part else FROM_BUNDLE for part in parts]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 3:
        raise ValueError(
            '--decision must be [TITLE=]ENTROPY[:META[:CORE]], such as nested=0.4:0.05:0.8, got '
            f'{text!r}. What is left out is the value of the bundle.'
        )
    entropy, meta, core = [*numbers, FROM_BUNDLE, FROM_BUNDLE][:3]
    return title if equals else text, PipelineSettings(
        entropy_threshold=entropy, meta_threshold=meta, core_threshold=core
    )


def parse_decisions(
    texts: Sequence[str], work_short_side: int | None = None
) -> dict[str, PipelineSettings]:
    """Return decisions by title, all on one work grid; without any that of the bundle."""
    decisions = {'bundle': PipelineSettings()} if not texts else {}
    for text in texts:
        title, settings = parse_decision(text)
        if title in decisions:
            raise ValueError(
                f'decisions must have different titles, got {title!r} twice. Name them with '
                'TITLE=ENTROPY:META:CORE.'
            )
        decisions[title] = settings
    if work_short_side is None:
        return decisions
    return {
        title: replace(one, work_short_side=work_short_side) for title, one in decisions.items()
    }


def publish_segments(
    pipeline: OodPipeline,
    dataset: SampleDataset,
    decisions: Mapping[str, PipelineSettings],
    *,
    indices: Iterable[int] | None = None,
) -> dict[str, PublishedDecisions]:
    """
    Run the network once an image and decide several times.

    Parameters
    ----------
    decisions : mapping of str to PipelineSettings
        By title, all with the same work_short_side.
    indices : iterable of int, optional
        Which images; by default all.

    Returns
    -------
    dict of str to PublishedDecisions
        By title, over the same images and objects, on the work grid.

    """
    counts = PublishedCounts(pipeline, decisions)
    for index in range(len(dataset)) if indices is None else indices:
        counts.count(index, dataset[index])
    return counts.finish()


class PublishedCounts:
    """What `publish_segments` keeps of each frame, as ranks exchange it and files keep it."""

    def __init__(self, pipeline: OodPipeline, decisions: Mapping[str, PipelineSettings]) -> None:
        self._pipeline, self._decisions = pipeline, decisions
        self._records = [DecisionRecord(pipeline.bundle.num_classes) for _ in decisions]

    def count(self, index: int, sample: Sample) -> None:
        """Run the network on a frame and decide."""
        first = next(iter(self._decisions.values()))
        logits, size = run_network(self._pipeline, sample.image, first)
        target = resize_labels(sample.target, size)
        objects = find_objects(target, None)
        for record, settings in zip(self._records, self._decisions.values(), strict=True):
            result = self._pipeline.from_logits(logits, size, settings=settings)
            record.add(sample, target, objects, result)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the counts as arrays by name."""
        return {
            f'{place}.{name}': values
            for place, record in enumerate(self._records)
            for name, values in record.to_arrays().items()
        }

    def add_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Add what `to_arrays` returned."""
        for place, record in enumerate(self._records):
            record.add_arrays(below(arrays, str(place)))

    def finish(self) -> dict[str, PublishedDecisions]:
        """Return what `publish_segments` does."""
        return {
            title: record.finish()
            for title, record in zip(self._decisions, self._records, strict=True)
        }


_FRAMES, _THRESHOLDS = 'frames', 'thresholds'


@dataclass(eq=False)
class DecisionRecord:
    """What one decision publishes, image by image."""

    num_classes: int
    columns: dict[str, list[np.ndarray]] = field(default_factory=dict)
    segments: int = 0
    objects: int = 0
    frames: int = 0
    thresholds: tuple[float, float, float] = (float('nan'),) * 3

    def add(
        self, sample: Sample, target: np.ndarray, objects: np.ndarray, result: OodResult
    ) -> None:
        """Add an image with its target and objects on the grid of the result."""
        found = label_segments(
            result.segments.labels,
            result.segments.count,
            target,
            objects,
            num_classes=self.num_classes,
            road=None,
        )
        there = len(found.object_size_px)
        nothing = np.zeros(result.segments.count, np.int64)
        self._append(
            is_true_ood=found.is_true_ood,
            size_px=found.size_px,
            valid_px=found.size_px - found.void_px,
            road_px=nothing,
            in_distribution_px=found.in_distribution_px,
            segment_frame=nothing,
            segment_number=np.arange(1, len(nothing) + 1),
            left_out=found.left_out,
            accepted=result.accepted,
            ood_probability=result.ood_probability,
            frame_name=np.array([sample.name]),
            frame_group=np.array([sample.group]),
            object_frame=np.zeros(there, np.int64),
            object_size_px=found.object_size_px,
            object_number=np.arange(1, there + 1),
            overlap_segment=found.overlap_segment.astype(np.int64) - 1,
            overlap_object=found.overlap_object.astype(np.int64) - 1,
            overlap_px=found.overlap_px,
        )
        published_at = result.core_threshold or result.entropy_threshold
        self.thresholds = (result.entropy_threshold, published_at, result.meta_threshold)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the images as arrays by name."""
        joined = {name: np.concatenate(values) for name, values in self.columns.items()}
        return {_FRAMES: np.array(self.frames), _THRESHOLDS: np.array(self.thresholds), **joined}

    def add_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Add the images of which `to_arrays` was returned."""
        if int(arrays[_FRAMES]):
            own = {name: one for name, one in arrays.items() if name not in (_FRAMES, _THRESHOLDS)}
            self._append(**own)
            judged_at, published_at, meta_threshold = arrays[_THRESHOLDS].tolist()
            self.thresholds = (judged_at, published_at, meta_threshold)

    def _append(self, **columns: np.ndarray) -> None:
        """Add images whose frames, segments and objects are counted from 0."""
        before = {
            'segment_frame': self.frames,
            'object_frame': self.frames,
            'overlap_segment': self.segments,
            'overlap_object': self.objects,
        }
        for name, values in columns.items():
            moved = values + before[name] if name in before else values
            self.columns.setdefault(name, []).append(moved)
        self.segments += len(columns['size_px'])
        self.objects += len(columns['object_size_px'])
        self.frames += len(columns['frame_name'])

    def finish(self) -> PublishedDecisions:
        """Return all that was added; segments that are more than half void count nowhere."""
        if not self.frames:
            raise ValueError('data must have at least one image to decide on, got none.')
        columns = {name: np.concatenate(values) for name, values in self.columns.items()}
        columns |= {name: columns[name].astype(object) for name in ('frame_name', 'frame_group')}
        left_out, accepted, ood_probability = (
            columns.pop(name) for name in ('left_out', 'accepted', 'ood_probability')
        )
        zero = np.zeros(self.frames, np.int64)
        judged_at, published_at, meta_threshold = self.thresholds
        segments = SegmentSet(
            entropy_threshold=judged_at,
            metric_names=(),
            metrics=np.zeros((self.segments, 0)),
            adjusted_iou=np.full(self.segments, np.nan),
            frame_split=np.full(self.frames, '', object),
            frame_road_px=zero,
            frame_in_distribution_px=zero,
            frame_left_out=zero,
            frame_objects_left_out=zero,
            frames_available=self.frames,
            published=(),
            **columns,
        )
        return PublishedDecisions(
            # objects stay: each decision is judged on the same ones
            segments=segments.without(left_out),
            accepted=accepted[~left_out],
            ood_probability=ood_probability[~left_out],
            judged_at=judged_at,
            published_at=published_at,
            meta_threshold=meta_threshold,
        )
