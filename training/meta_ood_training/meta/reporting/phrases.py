"""Numbers -> phrases of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import math
from typing import Any

from meta_ood_training.meta.judging.evaluation import ThresholdEvaluation


def show_percent(value: float | None) -> str:
    if value is None or math.isnan(value):
        return '-'
    return '< 0.01 %' if 0 < value < 1e-4 else f'{value:.2%}'.replace('%', ' %')


def show_interval(scores: Mapping[str, Any], name: str) -> str:
    """Return a count with its interval; a dash for an interval that one group cannot give."""
    one = scores['intervals'][name]
    if math.isnan(one['low']):
        return f'{one["value"]:.0f} [-]'
    return f'{one["value"]:.0f} [{one["low"]:.0f}, {one["high"]:.0f}]'


def show_reduction(one: Mapping[str, Any]) -> str:
    """Return a reduction with its interval; a dash for what cannot be known."""
    if not math.isfinite(one['value']):
        return '-'
    if math.isnan(one['low']):
        return f'{one["value"]:.0%} [-]'
    return f'{one["value"]:.0%} [{one["low"]:.0%}, {one["high"]:.0%}]'


def show_rate(one: Mapping[str, Any]) -> str:
    """Return a rate with its interval; a dash for what cannot be known."""
    if not math.isfinite(one['value']):
        return '-'
    if math.isnan(one['low']):
        return f'{one["value"]:.2f} [-]'
    return f'{one["value"]:.2f} [{one["low"]:.2f}, {one["high"]:.2f}]'


def show_range(lower: float, upper: float) -> str:
    """Return an interval; a dash for one that a single group cannot give."""
    return '-' if math.isnan(lower) else f'{lower:.3f} to {upper:.3f}'


def note_omissions(evaluations: Sequence[ThresholdEvaluation]) -> list[str]:
    """Return which thresholds have no classifier or lack images or segments, and why."""
    notes = []
    for one in evaluations:
        threshold = one.segments.entropy_threshold
        if one.problem:
            notes.append(f'Threshold {threshold:g}: no classifier, because {one.problem}')
        if one.segments.frames_available > len(one.segments.frame_name):
            notes.append(
                f'Threshold {threshold:g}: {len(one.segments.frame_name)} of '
                f'{one.segments.frames_available} images drawn at random, so that there are at '
                f'most --max-segments segments.'
            )
        if one.segments.left_out:
            notes.append(
                f'Threshold {threshold:g}: {one.segments.left_out} segments left out '
                '(more than half void, or incomplete), and '
                f'{one.segments.objects_left_out} objects that only they touch.'
            )
    return notes
