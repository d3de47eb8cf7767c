"""Numbers of a run -> report.json and report.md with its tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import json
import math
from pathlib import Path
from typing import Any

from meta_ood_training.markdown import render
from meta_ood_training.meta.reporting.phrases import (
    show_interval,
    show_percent,
    show_range,
    show_rate,
    show_reduction,
)

_KINDS = {'logistic_regression': 'LR', 'neural_network': 'NN', 'gradient_boosting': 'GB'}
_FILTERS: dict[str, Callable[..., str]] = {
    'interval': show_interval,
    'percent': show_percent,
    'range_to': show_range,
    'rate': show_rate,
    'reduction': show_reduction,
}


def write_report(folder: Path, report: Mapping[str, Any]) -> Path:
    """Write report.json and report.md."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_plain(report), indent=2, allow_nan=False)
    (folder / 'report.json').write_text(text + '\n', encoding='utf-8')
    path = folder / 'report.md'
    path.write_text(render_markdown(report), encoding='utf-8')
    return path


def render_markdown(report: Mapping[str, Any]) -> str:
    """Return the report as Markdown text."""
    return _render('report.md.jinja', report)


def render_comparison(report: Mapping[str, Any]) -> str:
    """Return the section about the test alone."""
    return _render('comparison.md.jinja', report)


def _render(name: str, report: Mapping[str, Any]) -> str:
    figures = report.get('figures', {})
    return render(
        'meta_ood_training.meta.reporting',
        name,
        _FILTERS,
        report=report,
        kinds=_KINDS,
        error_rows=_error_rows,
        ranking_rows=_ranking_rows,
        judged=_judged(report),
        image=lambda key, title: f'![{title}]({figures[key]})' if key in figures else '',
    )


def _judged(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return every judged threshold, and the words that tell the two networks apart."""
    after = report.get('thresholds', ())
    if not report.get('baseline'):
        return [('', scores) for scores in after]
    return [('before: ', one) for one in report['baseline']] + [('after: ', one) for one in after]


def _error_rows(scores: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    rows = [('none', scores['without_meta'])]
    for kind, title in _KINDS.items():
        if kind not in scores:
            continue
        left = scores[kind]['left_out']
        if left and left['at_published_threshold']:
            rows.append((f'{title}, segment left out, .5', left['at_published_threshold']))
        rows.append((f'{title}, grouped, .5', scores[kind]['at_published_threshold']))
        rows.append((f'{title}, grouped, operating point', scores[kind]['at_operating_point']))
    return rows


def _ranking_rows(scores: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    rows = [('max softmax', scores['max_softmax'])]
    for kind, title in _KINDS.items():
        if kind in scores:
            left = scores[kind]['left_out']
            if left:
                rows.append((f'{title}, segment left out', left['ranking']))
            rows.append((f'{title}, grouped', scores[kind]['ranking']))
    return rows


def _plain(value: Any) -> Any:
    """Return the same without numpy types; NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if hasattr(value, 'tolist'):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
