"""`meta-ood-train evaluate`: bundles x data sets -> table, JSON and figures of their scores."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
import json
from pathlib import Path
import time
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_training.datasets import DATASETS, open_dataset, parse_dataset, SampleDataset
from meta_ood_training.datasets.registry import fits_classes
from meta_ood_training.evaluation.deployed_report import format_deployed, to_deployed_record
from meta_ood_training.evaluation.deployed_run import score_published
from meta_ood_training.evaluation.pixel_evaluation import evaluate_pixels, is_of_part, SCORES
from meta_ood_training.evaluation.prediction import Predictor
from meta_ood_training.evaluation.report import format_table, Results, to_record, write_report
from meta_ood_training.provenance.revision import machine, source_revision
from tqdm import tqdm

STATED = ('part', 'score', 'limit', 'draws', 'seed', 'device', 'backend', 'precision')
"""Arguments that scores.json repeats as they were given, beside bundles, data and work size."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument(
        '--bundle',
        action='append',
        metavar='[TITLE=]PATH',
        help='bundle to score; several are compared (default: the installed one)',
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
    parser.add_argument(
        '--segments',
        action='store_true',
        help='score the segments that the node would publish, instead of pixels',
    )
    parser.add_argument(
        '--decision',
        action='append',
        default=[],
        metavar='[TITLE=]ENTROPY[:META[:CORE]]',
        help='with --segments: thresholds of a decision to compare (default: those of the bundle)',
    )
    parser.add_argument(
        '--gallery',
        type=int,
        default=0,
        metavar='N',
        help='with --segments: draw the N images with most errors of each decision',
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
    parser.add_argument('--backend', default='auto', help='how the network runs')
    parser.add_argument('--precision', default='fp32', help='precision of the network')


def run(arguments: argparse.Namespace) -> int:
    """Score, print the table, write the files."""
    _check_kind(arguments)
    bundles = _load_bundles(arguments.bundle)
    parsed = [parse_dataset(text) for text in arguments.dataset]
    datasets = _open_datasets(parsed, max(one.num_classes for one in bundles.values()))
    layouts = {title: layout for title, layout, _ in parsed}
    _check_parts(arguments.part, datasets)
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)  # before an hour of prediction
    if arguments.segments:
        return _run_segments(arguments, bundles, datasets)
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
                names_classes=fits_classes(layouts[title], bundle.class_names),
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
            **_state(arguments, bundles, datasets, seconds),
            'work_size': work_size,
            'results': {
                row: {title: to_record(one) for title, one in by_bundle.items()}
                for row, by_bundle in results.items()
            },
        }
        write_report(arguments.output, report, table, results)
    return 0


def _check_kind(arguments: argparse.Namespace) -> None:
    """Refuse options of pixel scores with --segments, and the other way round."""
    if arguments.decision and not arguments.segments:
        raise ValueError('--decision belongs to published segments, got no --segments. Add it.')
    if arguments.gallery and not (arguments.segments and arguments.output):
        raise ValueError(
            '--gallery belongs to published segments and a folder, got no --segments or no '
            '--output. Add it.'
        )
    for name in ('score', 'work_size'):
        if arguments.segments and getattr(arguments, name):
            raise ValueError(
                f'--{name.replace("_", "-")} belongs to pixel scores, got it with --segments. '
                'Leave it out.'
            )


def _run_segments(
    arguments: argparse.Namespace,
    bundles: Mapping[str, Bundle],
    datasets: Mapping[str, SampleDataset],
) -> int:
    rows, seconds = score_published(arguments, bundles, datasets, progress=_progress)
    table = format_deployed(rows)
    print(table)
    if arguments.output:
        report = _state(arguments, bundles, datasets, seconds) | {
            'decisions': [to_deployed_record(row) for row in rows]
        }
        (arguments.output / 'segments.json').write_text(json.dumps(report, indent=1) + '\n')
        (arguments.output / 'segments.md').write_text(table + '\n')
        print(f'written to {arguments.output}')
    return 0


def _state(
    arguments: argparse.Namespace,
    bundles: Mapping[str, Bundle],
    datasets: Mapping[str, SampleDataset],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Return what was scored, on what, by which command."""
    return {
        'bundles': {title: _describe(bundle) for title, bundle in bundles.items()},
        'datasets': dict(zip(datasets, arguments.dataset, strict=True)),
        'work_short_side': arguments.work_short_side,
        'arguments': {name: getattr(arguments, name) for name in STATED},
        'revision': source_revision(),
        'machine': machine(),
        'seconds': dict(seconds),
    }


def _check_parts(parts: Sequence[str], datasets: Mapping[str, SampleDataset]) -> None:
    """Refuse a part that no image belongs to, before an hour of prediction."""
    for part in parts:
        if not any(
            is_of_part(name, getattr(dataset, 'tags', {}), part)
            for dataset in datasets.values()
            for name in dataset.names
        ):
            raise ValueError(
                f'--part must begin the name of an image or be a tag of a manifest, got {part!r}, '
                f'which no image of {", ".join(datasets)} has.'
            )


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Return (height, width) of `HxW`."""
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


def _open_datasets(
    parsed: Sequence[tuple[str, str, Path]], num_classes: int
) -> dict[str, SampleDataset]:
    datasets = {}
    for title, name, path in parsed:
        if title in datasets:
            raise ValueError(
                f'data sets must have different titles, got {title!r} twice. '
                f'Name them with TITLE:NAME=PATH.'
            )
        datasets[title] = open_dataset(name, path, num_classes=num_classes)
    return datasets


def _progress(length: int, limit: int | None, title: str) -> Iterable[int]:
    return tqdm(range(length if limit is None else min(limit, length)), desc=title, unit='image')


def _describe(bundle: Bundle) -> dict[str, Any]:
    return {
        'model_id': bundle.model_id,
        'architecture': bundle.architecture,
        'work_short_side': bundle.work_short_side,
        'provenance': json.loads(json.dumps(dict(bundle.provenance), default=str)),
    }
