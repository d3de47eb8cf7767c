"""Before and after -> report.md, report.json and a figure."""

from __future__ import annotations

from collections.abc import Mapping
import json
import math
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from meta_ood_ros.core.files.whole_files import replace_whole, write_whole
from meta_ood_training.adaptation.judging import Judgement
from meta_ood_training.adaptation.options import AdaptOptions
from meta_ood_training.adaptation.stretches import describe_pattern
from meta_ood_training.markdown import render

FIGURE_FILE = 'before_after.png'
_SKIPPED_SHOWN = 10
Value = list[float]
"""A number with the ends of its 95 % interval, NaN without one."""


def write_adaptation(
    folder: Path,
    facts: Mapping[str, Any],
    options: AdaptOptions,
    *,
    judged: Mapping[str, Judgement] | None = None,
    old: Mapping[str, Judgement] | None = None,
) -> dict[str, Any]:
    """Write what was done and what came of it; return all numbers."""
    report: dict[str, Any] = {**facts, 'pattern': describe_pattern(), 'scores': {}, 'figure': ''}
    if judged:
        scores = _collect(judged, old or {}, options)
        report |= {'scores': scores, 'verdicts': _verdicts(scores), 'figure': FIGURE_FILE}
        report['summary'] = _summarize(scores)
        _draw(folder / FIGURE_FILE, scores, options)
    text = render(
        'meta_ood_training.adaptation',
        'adaptation.md.jinja',
        {'cell': _cell, 'percent': '{:.1%}'.format},
        **report,
        false_per_frame=options.false_per_frame,
        skipped={one['title']: list(one['skipped'].items()) for one in report['recordings']},
        shown=_SKIPPED_SHOWN,
    )
    write_whole(folder / 'report.md', text)
    write_whole(folder / 'report.json', json.dumps(_plain(report), indent=1) + '\n')
    return report


def _collect(
    judged: Mapping[str, Judgement], old: Mapping[str, Judgement], options: AdaptOptions
) -> dict[str, dict[str, Value]]:
    """Return the scores of each bundle."""
    found: dict[str, dict[str, Value]] = {}
    a_minute = 60 * options.rate
    for title, judgement in judged.items():
        one = judgement.segments
        false = [one.false_a_frame.value, one.false_a_frame.low, one.false_a_frame.high]
        found[title] = {
            'found': [one.found.value, one.found.low, one.found.high],
            'touched': [one.touched.value, one.touched.low, one.touched.high],
            'false_a_minute': [a_minute * value for value in false],
            'objects': _alone(one.objects),
            'entropy_threshold': _alone(one.judged_at),
            'meta_threshold': _alone(one.meta_threshold),
            **_pixels('new', judgement),
        }
    for title, judgement in old.items():
        found[title] |= {'old_mean_iou': _alone(judgement.mean_iou), **_pixels('old', judgement)}
    return found


def _pixels(data: str, judgement: Judgement) -> dict[str, Value]:
    scores = judgement.pixels
    if scores is None:
        return {}
    measured = {f'{data}_prevalence': _alone(scores.prevalence)}
    for key in ('average_precision', 'fpr95', 'auroc'):
        ends = judgement.intervals.get(key)
        low, high = (ends.low, ends.high) if ends else (math.nan, math.nan)
        measured[f'{data}_{key}'] = [getattr(scores, key), low, high]
    return measured


def _alone(value: float) -> Value:
    return [float(value), math.nan, math.nan]


_JUDGED = {
    'found': ('objects found', True),
    'false_a_minute': ('false segments a minute', False),
    'new_average_precision': ('average precision of pixels', True),
    'new_fpr95': ('FPR95 of pixels', False),
    'old_average_precision': ('average precision on the old domain', True),
    'old_mean_iou': ('mean IoU on the old domain', True),
}


def _verdicts(scores: Mapping[str, Mapping[str, Value]]) -> list[str]:
    """Say of each score whether it is better beyond the intervals."""
    said = []
    before, after = scores['before'], scores['after']
    for name, (words, is_up) in _JUDGED.items():
        if name not in before or name not in after:
            continue
        old, new = before[name], after[name]
        if math.isnan(old[1] + new[1]):
            said.append(f'{words}: {old[0]:.3f} -> {new[0]:.3f}, without intervals')
        elif old[1] <= new[2] and new[1] <= old[2]:
            said.append(f'{words}: no difference beyond the intervals')
        else:
            said.append(f'{words}: {"better" if (new[0] > old[0]) == is_up else "worse"}')
    return said


def _summarize(scores: Mapping[str, Mapping[str, Value]]) -> str:
    before, after = scores['before'], scores['after']
    return (
        f'found {before["found"][0]:.0%} -> {after["found"][0]:.0%} of '
        f'{after["objects"][0]:.0f} pasted objects, false segments a minute '
        f'{before["false_a_minute"][0]:.0f} -> {after["false_a_minute"][0]:.0f}'
    )


def _draw(path: Path, scores: Mapping[str, Mapping[str, Value]], options: AdaptOptions) -> None:
    figure = Figure(figsize=(9, 3.6), layout='constrained')
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for title, one in scores.items():
        x, y = one['false_a_minute'], one['found']
        left.errorbar(x[0], y[0], xerr=_arms(x), yerr=_arms(y), fmt='o', capsize=3, label=title)
    left.axvline(options.false_per_minute, color='gray', linestyle=':', label='allowed')
    left.set(xlabel=f'false segments a minute at {options.rate:g} frames/s', ylim=(-0.02, 1.02),
             ylabel='share of pasted objects found', title='segments')  # fmt: skip
    left.set_xlim(left=0)
    left.legend(fontsize='small', loc='lower right')
    names = [name for name in scores['after'] if name.startswith(('new_', 'old_'))]
    names = [name for name in names if not name.endswith(('prevalence', 'auroc'))]
    for place, title in enumerate(('before', 'after')):
        values = [scores[title].get(name, [math.nan] * 3) for name in names]
        arms = [_arms(one) or [[0.0], [0.0]] for one in values]
        right.bar(
            [index + 0.4 * place for index in range(len(names))],
            [one[0] for one in values],
            0.38,
            yerr=[[arm[side][0] for arm in arms] for side in (0, 1)],
            capsize=3,
            label=title,
        )
    shown = [
        name.replace('average_precision', 'AP')
        .replace('fpr95', 'FPR95')
        .replace('mean_iou', 'mIoU')
        .replace('_', '\n')
        for name in names
    ]
    right.set_xticks([index + 0.2 for index in range(len(names))], shown)
    right.set(ylim=(0, 1), title='pixels')
    for axes in (left, right):
        axes.grid(alpha=0.3)
    right.legend(fontsize='small')
    with replace_whole(path) as stream:
        figure.savefig(stream, dpi=130, format='png')


def _arms(value: Value) -> list[list[float]] | None:
    if math.isnan(value[1]):
        return None
    return [[max(value[0] - value[1], 0.0)], [max(value[2] - value[0], 0.0)]]


def _cell(value: Value | None) -> str:
    if not value or math.isnan(value[0]):
        return '-'
    digits = 1 if value[0] >= 10 else 3
    if math.isnan(value[1]):
        return f'{value[0]:.{digits}f}'
    return f'{value[0]:.{digits}f} [{value[1]:.{digits}f}, {value[2]:.{digits}f}]'


def _plain(value: Any) -> Any:
    """Return None for NaN, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
