"""What a table of segments says about itself: model, thresholds, sources, counts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
import json
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.segment_metrics import metric_names
from meta_ood_training.provenance.revision import source_revision
from meta_ood_training.segments.frame_images import describe_places
from meta_ood_training.segments.labelled_frames import FrameSource
from meta_ood_training.segments.options import ExtractionOptions
from meta_ood_training.segments.recorded_segments import RecordedSegments
import numpy as np

#: What void pixels do, for each rule.
_VOID_RULES = {
    'deployed': 'segments over the whole image; truth from non-void pixels; '
    'segments more than half void left out',
    'published': 'non-void pixels: predictions on void are erased before segments are formed',
}


def describe_run(
    options: ExtractionOptions,
    bundle: Bundle,
    thresholds: Sequence[float],
    sources: Sequence[FrameSource],
) -> dict[str, Any]:
    """Return what an interrupted run must have in common with one that goes on with it."""
    chosen = asdict(options)
    # these change no row, or stand below
    for name in ('device', 'backend', 'thresholds', 'core_thresholds'):
        del chosen[name]
    facts = {
        'model_id': bundle.model_id,
        'bundle_sha256': bundle.digest,
        'thresholds': [float(one) for one in thresholds],
        'core_thresholds': sorted(set(options.core_thresholds)),
        'sources': [[one.title, len(one)] for one in sources],
        **chosen,
    }
    return dict(json.loads(json.dumps(facts, default=str)))


def describe_segments(
    options: ExtractionOptions,
    bundle: Bundle,
    thresholds: Sequence[float],
    sources: Sequence[FrameSource],
    parts: int,
    counts: dict[str, int],
    done: Collection[int],
    losses: Sequence[str],
    command: str,
) -> dict[str, Any]:
    return {
        'model_id': _model_id(bundle, sources),
        'bundle_sha256': bundle.digest,
        # recorded segments name a model; whose network it was only its owner knows
        'network_sha256': None if options.recorded else bundle.network_sha256,
        'score': 'entropy' if options.recorded else bundle.score,
        'entropy_thresholds': [float(one) for one in thresholds],
        'core_thresholds': sorted(set(options.core_thresholds)),
        'metric_names': list(metric_names(bundle.num_classes)),
        'connectivity': 8,
        'label_rule': options.label_rule,
        'void_rule': _VOID_RULES[options.label_rule],
        'min_size_px': bundle.min_size_px,
        'work_short_side': bundle.work_short_side,
        # recorded segments are counted on the received images
        'pixel_grid': 'received' if options.recorded else 'work',
        'missed_object_unit': sorted({source.object_unit for source in sources}),
        'sources': [
            {
                'title': one.title,
                # of several processes only the expected ones are known here
                'frames': number if parts == 1 else _expected(one, options.limit),
                'region_of_interest': one.region_of_interest,
            }
            for one, number in zip(sources, _count_frames(sources, done), strict=True)
        ],
        'places': describe_places(options, [one.title for one in sources]),
        'parts': parts,
        'rows_of_part_0': counts,
        'lost': list(losses),
        'command': command,
        'revision': source_revision(),
    }


def _expected(source: FrameSource, limit: int) -> int:
    return min(len(source), limit) if limit else len(source)


def _count_frames(sources: Sequence[FrameSource], done: Collection[int]) -> list[int]:
    """Return how many frames of each source are in the tables: damaged ones are not."""
    ends = np.cumsum([0, *map(len, sources)])
    return np.histogram(list(done), bins=ends)[0].tolist() if len(ends) > 1 else []


def _model_id(bundle: Bundle, sources: Sequence[FrameSource]) -> str:
    """Return the model that the segments come from; recorded ones carry it."""
    recorded = {one.model_id for one in sources if isinstance(one, RecordedSegments)}
    if len(recorded) > 1:
        raise ValueError(
            f'recorded segments must come from one model, got {", ".join(sorted(recorded))}. '
            'Write each into a folder of its own.'
        )
    return recorded.pop() if recorded else bundle.model_id
