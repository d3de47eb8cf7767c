"""Evaluations of bundles on data -> Markdown table, JSON and figures."""

from collections.abc import Mapping
from dataclasses import asdict
import json
from pathlib import Path
from typing import Any

from meta_ood_ros.core.files.whole_folders import replace_folder
from meta_ood_training.evaluation.figures import FIGURES, thin
from meta_ood_training.evaluation.frame_walk import UNFINISHED
from meta_ood_training.evaluation.pixel_evaluation import PixelEvaluation
from meta_ood_training.markdown import render
from meta_ood_training.scores import PixelScores, precision_recall_curve, roc_curve
import numpy as np

Results = dict[str, dict[str, PixelEvaluation]]
"""Row of the data (set, or set and part) -> title of the bundle -> evaluation."""


def format_table(results: Results) -> str:
    """
    Return the scores as a Markdown table.

    Returns
    -------
    str
        One row a score, and a row of what a random score gets; 95 % intervals over groups in
        brackets; a bound after +- where binning could change the third decimal.

    """
    return render(
        'meta_ood_training.evaluation',
        'scores.md.jinja',
        results=results,
        cell=_score_cell,
        random_scores=_random_scores,
    ).rstrip()


def to_record(evaluation: PixelEvaluation) -> dict[str, Any]:
    """Return an evaluation as plain values for JSON."""
    confusion = evaluation.confusion
    record: dict[str, Any] = {
        'images': evaluation.images,
        'groups': evaluation.groups,
        'mean_iou': _number(confusion.mean_iou()),
        'iou': [_number(value) for value in confusion.iou()],
        'mean_iou_over_threshold': {
            str(threshold): _number(value)
            for threshold, value in zip(
                confusion.thresholds, confusion.mean_iou_over_threshold(), strict=True
            )
        },
        'control': None if evaluation.control is None else asdict(evaluation.control),
        'scores': {},
    }
    for name, value in evaluation.scores.items():
        counts = evaluation.counts[name]
        fpr, tpr = thin(*roc_curve(counts))
        recall, precision = thin(*precision_recall_curve(counts))
        record['scores'][name] = {
            **asdict(value),
            'intervals_95': {
                key: [one.low, one.high] for key, one in evaluation.intervals.get(name, {}).items()
            },
            'roc': {'fpr': fpr.round(6).tolist(), 'tpr': tpr.round(6).tolist()},
            'precision_recall': {
                'recall': recall.round(6).tolist(),
                'precision': precision.round(6).tolist(),
            },
        }
    return record


def write_report(
    folder: Path, report: Mapping[str, Any], table: str, results: Results
) -> tuple[Path, ...]:
    """Write scores.json, scores.md and one set of figures for each row; return the figures."""
    with replace_folder(folder, ours=(UNFINISHED,)) as made:
        names = _write_into(made, report, table, results)
    return tuple(folder / name for name in names)


def _write_into(
    folder: Path, report: Mapping[str, Any], table: str, results: Results
) -> list[str]:
    (folder / 'scores.json').write_text(json.dumps(report, indent=1) + '\n')
    lines = [table, '']
    figures = []
    for row, by_bundle in results.items():
        stem = ''.join(letter if letter.isalnum() else '_' for letter in row)
        first = next(iter(by_bundle.values()))
        wanted = {
            'curves': bool(first.scores),
            'entropy': 'entropy' in first.scores,
            'miou': not np.isnan(first.confusion.mean_iou()),
        }
        for figure, is_wanted in wanted.items():
            if is_wanted:
                name = f'{stem}_{figure}.png'
                FIGURES[figure](by_bundle, row, folder / name)
                figures.append(name)
                lines.append(f'![{row}: {figure}]({name})')
    (folder / 'scores.md').write_text('\n'.join(lines) + '\n')
    return figures


def _score_cell(value: PixelScores, key: str, intervals: Mapping[str, Any]) -> str:
    bound = getattr(value, f'{key}_bound')
    cell = f'{getattr(value, key):.3f}'
    if bound >= 0.0005:
        cell += f' ± {bound:.3f}'
    if key in intervals:
        cell += f' [{intervals[key].low:.3f}, {intervals[key].high:.3f}]'
    return cell


def _random_scores(by_bundle: Mapping[str, PixelEvaluation]) -> list[PixelScores]:
    """Return one of a row's scores, for its prevalence, where there are any."""
    return [score for one in by_bundle.values() for score in one.scores.values()][-1:]


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else float(value)
