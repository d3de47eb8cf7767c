"""Core thresholds asked for and segments on the disk -> what an operating point can count."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_training.meta.judging.decisions import published_errors
from meta_ood_training.meta.judging.evaluation import ThresholdEvaluation
from meta_ood_training.meta.options import FitMetaOptions
from meta_ood_training.segments.loading import holds_cores


def wanted_cores(options: FitMetaOptions, bundle: Bundle) -> tuple[float, ...]:
    """Return the core thresholds to choose from, ascending; without any that of the bundle."""
    return tuple(sorted(set(options.core_threshold))) or (bundle.core_threshold,)


def cores_at(cores: Sequence[float], entropy_threshold: float) -> tuple[float, ...]:
    """Return those above an entropy threshold, after 0 where others publish as judged."""
    above = tuple(core for core in cores if core > entropy_threshold)
    return above if len(above) == len(cores) else (0.0, *above)


def find_lacking(
    folders: Sequence[Path], cores: Sequence[float], entropy_thresholds: Sequence[float]
) -> list[Path]:
    """Return the folders without the cores that would be published at one of the thresholds."""
    needed = [core for core in cores if core > min(entropy_thresholds)]
    return [one for one in folders if not all(holds_cores(one, core) for core in needed)]


def note_lacking(
    lacking: Sequence[Path], lacking_test: Sequence[Path], cores: Sequence[float]
) -> list[str]:
    """Return what the report says where fit or test could not count what is published."""
    counting = '--bound, operating point and errors count' if lacking else 'The test counts'
    folders = lacking or lacking_test
    if not folders:
        return []
    named = ' '.join(f'{core:g}' for core in cores)
    return [
        f'{counting} judged segments, not what is published of them at --core-threshold {named}: '
        f'{", ".join(map(str, folders))} hold no such cores. Extract the segments with '
        f'--core-threshold {named} to count these.'
    ]


def best_core(chosen: ThresholdEvaluation, kind: str, cores: Sequence[float]) -> float:
    """Return where the bundle cuts: where it was found best, else the lowest, which cuts least."""
    best: float = chosen.scores[kind]['core_threshold']
    return best or cores[0]


def describe_levels(chosen: ThresholdEvaluation, kind: str, cores: Sequence[float]) -> str:
    """Say where segments are judged and published."""
    judged, core = chosen.segments.entropy_threshold, best_core(chosen, kind, cores)
    published = f'their cores at {core:g}' if core > judged else 'as they were judged'
    return f'judged at {judged:g}, published: {published}'


def summarize_published(chosen: ThresholdEvaluation, kind: str) -> dict[str, Any]:
    """Return what a bundle states of its published cores, out of fold; nothing without any."""
    scores = chosen.scores[kind]
    if not scores['core_threshold']:
        return {}
    errors = published_errors(scores)
    return {
        'published': {
            'core_threshold': scores['core_threshold'],
            'false_segments': errors['false_positives'],
            'missed_objects': errors['missed_objects'],
            'objects_with_siou_25': round(errors['objects_with_siou_25'], 4),
            'f1': round(errors['f1'], 4),
        }
    }
