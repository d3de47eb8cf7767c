"""`meta-ood-train evaluate`: bundles x data sets -> table, JSON and figures of pixel scores."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
import json
from pathlib import Path
import time
from typing import Any

from meta_ood_ros.core.bundle import Bundle, load_bundle
from meta_ood_training.datasets import DATASETS, open_dataset, parse_dataset, SampleDataset
from meta_ood_training.datasets.registry import names_classes
from meta_ood_training.evaluation_figures import FIGURES, thin
from meta_ood_training.pixel_evaluation import evaluate_pixels, PixelEvaluation, SCORES
from meta_ood_training.prediction import Predictor
from meta_ood_training.scores import PixelScores, precision_recall_curve, roc_curve
import numpy as np
from tqdm import tqdm

Results = dict[str, dict[str, PixelEvaluation]]
"""Row of the data (set, or set and part) -> title of the bundle -> evaluation."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Declare the options of the verb.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Gets them.

    """
    parser.add_argument(
        '--bundle',
        action='append',
        metavar='[TITLE=]PATH',
        help='bundle to score; several are compared in every figure (default: the installed one)',
    )
    parser.add_argument(
        '--dataset',
        action='append',
        required=True,
        metavar='[TITLE:]NAME=PATH',
        help=f'data to score on; NAME is one of {", ".join(sorted(DATASETS))}',
    )
    parser.add_argument(
        '--part',
        action='append',
        default=[],
        metavar='WORD',
        help='report the images whose name begins so, or that a manifest tags so, separately, too',
    )
    parser.add_argument(
        '--score', action='append', choices=sorted(SCORES), help='OoD score (default: all)'
    )
    parser.add_argument('--output', type=Path, help='folder for scores.json, scores.md, figures')
    parser.add_argument(
        '--work-short-side', type=int, help='short side of the work grid [px] (default: bundle)'
    )
    parser.add_argument(
        '--work-size', metavar='HxW', help='fixed work grid [px] instead, aspect not kept'
    )
    parser.add_argument('--limit', type=int, help='only the first images of every set')
    parser.add_argument('--draws', type=int, default=1000, help='bootstrap draws; 0 for none')
    parser.add_argument('--seed', type=int, default=0, help='seed of the bootstrap')
    parser.add_argument('--device', default='cpu', help='cpu, cuda, cuda:N or auto')
    parser.add_argument('--backend', default='eager', help='how the network runs')
    parser.add_argument('--precision', default='fp32', help='precision of the network')


def run(arguments: argparse.Namespace) -> int:
    """
    Score, print the table, write the files.

    Parameters
    ----------
    arguments : argparse.Namespace
        As declared by `add_arguments`.

    Returns
    -------
    int
        0.

    """
    bundles = _load_bundles(arguments.bundle)
    datasets = _open_datasets(arguments.dataset)
    layouts = dict(
        zip(datasets, [parse_dataset(one)[1] for one in arguments.dataset], strict=True)
    )
    _check_parts(arguments.part, datasets)
    work_size = parse_size(arguments.work_size)
    score_names = arguments.score or list(SCORES)
    results: Results = {}
    seconds: dict[str, float] = {}
    for bundle_title, bundle in bundles.items():
        predictor = Predictor.from_bundle(
            bundle,
            work_short_side=arguments.work_short_side,
            work_size=work_size,
            device=arguments.device,
            backend=arguments.backend,
            precision=arguments.precision,
        )
        for title, dataset in datasets.items():
            start = time.perf_counter()
            parts = evaluate_pixels(
                predictor,
                dataset,
                scores=score_names,
                parts=arguments.part,
                num_classes=bundle.num_classes,
                names_classes=names_classes(layouts[title], bundle.class_names),
                indices=_progress(len(dataset), arguments.limit, f'{bundle_title}, {title}'),
                draws=arguments.draws,
                seed=arguments.seed,
            )
            seconds[f'{bundle_title}, {title}'] = time.perf_counter() - start
            for part, evaluation in parts.items():
                row = f'{title}, {part}' if part else title
                results.setdefault(row, {})[bundle_title] = evaluation
    table = format_table(results)
    print(table)
    if arguments.output:
        report = {
            'bundles': {title: _describe(bundle) for title, bundle in bundles.items()},
            'datasets': dict(zip(datasets, arguments.dataset, strict=True)),
            'work_short_side': arguments.work_short_side,
            'work_size': work_size,
            'seconds': seconds,
            'results': {
                row: {title: to_record(one) for title, one in by_bundle.items()}
                for row, by_bundle in results.items()
            },
        }
        write_report(arguments.output, report, table, results)
    return 0


def _check_parts(parts: Sequence[str], datasets: Mapping[str, SampleDataset]) -> None:
    """Refuse a part that no image belongs to, before an hour of prediction."""
    for part in parts:
        if not any(
            any(name.startswith(part) for name in dataset.names)
            or any(part in words for words in getattr(dataset, 'tags', {}).values())
            for dataset in datasets.values()
        ):
            raise ValueError(
                f'--part must begin the name of an image or be a tag of a manifest, got {part!r}, '
                f'which no image of {", ".join(datasets)} has.'
            )


def format_table(results: Results) -> str:
    """
    Return the scores as a Markdown table.

    Parameters
    ----------
    results : dict of str to dict of str to PixelEvaluation
        By data and bundle.

    Returns
    -------
    str
        One row a score, and a row of what a random score gets; 95 % intervals over groups in
        brackets; a bound after +- where binning could change the third decimal.

    """
    lines = [
        '| data | images | bundle | score | AUROC | AP | FPR95 | max J | mIoU |',
        '|---|---|---|---|---|---|---|---|---|',
    ]
    for row, by_bundle in results.items():
        prevalence = None
        for title, evaluation in by_bundle.items():
            mean_iou = evaluation.confusion.mean_iou()
            miou = '' if np.isnan(mean_iou) else f'{mean_iou:.3f}'
            begin = f'| {row} | {evaluation.images} | {title} '
            if not evaluation.scores:
                lines.append(f'{begin}| | | | | | {miou} |')
            for name, value in evaluation.scores.items():
                prevalence = value.prevalence
                cells = _score_cells(value, evaluation.intervals.get(name, {}))
                lines.append(f'{begin}| {name} | {cells} | {miou} |')
        if prevalence is not None:
            lines.append(
                f'| {row} | | | random (AP = prevalence) | 0.500 | {prevalence:.3f} | 0.950 | '
                f'0.000 | |'
            )
    notes = [
        f'{row}, {title}: of pasted in-distribution objects {one.control.pasted_fpr:.3f} of the '
        f'pixels lie above the entropy of 95 % TPR, of the same classes unpasted '
        f'{one.control.unpasted_fpr:.3f} '
        f'(ratio {one.control.pasted_fpr / max(one.control.unpasted_fpr, 1e-12):.2f})'
        for row, by_bundle in results.items()
        for title, one in by_bundle.items()
        if one.control is not None
    ]
    return '\n'.join([*lines, *([''] if notes else []), *notes])


def to_record(evaluation: PixelEvaluation) -> dict[str, Any]:
    """
    Return an evaluation as plain values for JSON.

    Parameters
    ----------
    evaluation : PixelEvaluation
        Any.

    Returns
    -------
    dict
        Curves thinned to 2,000 points.

    """
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


def write_report(folder: Path, report: Mapping[str, Any], table: str, results: Results) -> None:
    """
    Write scores.json, scores.md and one set of figures for each row of the data.

    Parameters
    ----------
    folder : Path
        Made where absent.
    report : mapping
        Content of scores.json.
    table : str
        Markdown table.
    results : dict of str to dict of str to PixelEvaluation
        What is drawn.

    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'scores.json').write_text(json.dumps(report, indent=1) + '\n')
    lines = [table, '']
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
                lines.append(f'![{row}: {figure}]({name})')
    (folder / 'scores.md').write_text('\n'.join(lines) + '\n')
    print(f'written to {folder}')


def parse_size(text: str | None) -> tuple[int, int] | None:
    """
    Return (height, width) of `HxW`.

    Parameters
    ----------
    text : str or None
        Such as 512x1024.

    Returns
    -------
    tuple of int or None

    """
    if text is None:
        return None
    sides = text.lower().split('x')
    if len(sides) != 2 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise ValueError(
            f'--work-size must be HEIGHTxWIDTH in px, such as 512x1024, got {text!r}.'
        )
    return int(sides[0]), int(sides[1])


def _load_bundles(given: Sequence[str] | None) -> dict[str, Bundle]:
    if not given:
        return {'default': load_bundle()}
    bundles = {}
    for text in given:
        title, equals, path = text.partition('=')
        title, path = (title, path) if equals else (Path(text).name, text)
        if title in bundles:
            raise ValueError(f'bundles must have different titles, got {title!r} twice.')
        bundles[title] = load_bundle(path)
    return bundles


def _open_datasets(given: Sequence[str]) -> dict[str, SampleDataset]:
    datasets = {}
    for text in given:
        title, name, path = parse_dataset(text)
        if title in datasets:
            raise ValueError(
                f'data sets must have different titles, got {title!r} twice. '
                f'Name them with TITLE:NAME=PATH.'
            )
        datasets[title] = open_dataset(name, path)
    return datasets


def _progress(length: int, limit: int | None, title: str) -> Iterable[int]:
    return tqdm(range(length if limit is None else min(limit, length)), desc=title, unit='image')


def _score_cells(value: PixelScores, intervals: Mapping[str, Any]) -> str:
    cells = []
    for key in ('auroc', 'average_precision', 'fpr95', 'max_j'):
        bound = getattr(value, f'{key}_bound')
        cell = f'{getattr(value, key):.3f}'
        if bound >= 0.0005:
            cell += f' ± {bound:.3f}'
        if key in intervals:
            cell += f' [{intervals[key].low:.3f}, {intervals[key].high:.3f}]'
        cells.append(cell)
    return ' | '.join(cells)


def _describe(bundle: Bundle) -> dict[str, Any]:
    return {
        'model_id': bundle.model_id,
        'architecture': bundle.architecture,
        'work_short_side': bundle.work_short_side,
        'provenance': json.loads(json.dumps(dict(bundle.provenance), default=str)),
    }


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else float(value)
