"""`evaluate`: bundles x data sets -> table, JSON and figures of pixel scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import json
from pathlib import Path
import time
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_training.datasets import open_dataset, parse_dataset, SampleDataset
from meta_ood_training.datasets.registry import fits_classes
from meta_ood_training.evaluation.pixel_evaluation import evaluate_pixels, is_of_part, SCORES
from meta_ood_training.evaluation.prediction import Predictor
from meta_ood_training.evaluation.report import format_table, Results, to_record, write_report
from meta_ood_training.plain_arguments import as_tuple, check_choice
from meta_ood_training.provenance.revision import machine, source_revision
from tqdm import tqdm


@dataclass(frozen=True, repr=False)
class EvaluationResult:
    """
    Pixel scores of bundles on data sets; its repr is the table.

    Attributes
    ----------
    results : dict of str to dict of str to PixelEvaluation
        Row of the data (set, or 'set, part') -> title of the bundle -> scores, intervals, counts.
    table : str
        The scores in Markdown.
    report : dict
        What scores.json holds: the scores as plain values, and all that they depend on.
    output : Path or None
        Folder of scores.json and scores.md.
    figures : tuple of Path
        Curves and distributions, one set a row; empty without `output`.

    """

    results: Results
    table: str
    report: dict[str, Any]
    output: Path | None
    figures: tuple[Path, ...]

    def __repr__(self) -> str:
        """Return the table."""
        return self.table


def evaluate(
    datasets: str | Sequence[str],
    *,
    bundles: Bundle | str | Path | Sequence[str | Path] | Mapping[str, Any] | None = None,
    parts: Sequence[str] = (),
    scores: str | Sequence[str] = (),
    output: str | Path | None = None,
    work_short_side: int | None = None,
    work_size: tuple[int, int] | None = None,
    limit: int | None = None,
    draws: int = 1000,
    seed: int = 0,
    device: str = 'auto',
    backend: str = 'auto',
    precision: str = 'fp32',
    progress: bool = False,
) -> EvaluationResult:
    """
    Score bundles on data sets, pixel by pixel.

    Parameters
    ----------
    datasets : str or sequence of str
        '[TITLE:]NAME=PATH', NAME a layout of `datasets`: 'road_anomaly=data/road_anomaly'.
    bundles : Bundle, str, Path, a sequence of '[TITLE=]PATH', or a mapping of titles, optional
        What to score, each a bundle, the name of an installed one or a directory; the installed
        default where absent.
    parts : sequence of str
        Images whose name begins so, or that a manifest tags so, are reported separately, too.
    scores : str or sequence of str
        OoD scores; all where empty.
    output : str or Path, optional
        Folder for scores.json, scores.md and figures.
    work_short_side : int, optional
        Short side of the work grid in pixels; the bundle's where absent.
    work_size : (int, int), optional
        Height and width of the work grid in pixels instead, aspect not kept.
    limit : int, optional
        Only the first images of every set; 0 takes all.
    draws, seed : int
        Of the bootstrap; 0 draws leave the intervals out.
    device, backend, precision : str
        How the networks run, see `load_backend`.
    progress : bool
        Whether a bar is shown.

    Returns
    -------
    EvaluationResult
        Scores, table, and the files written.

    Raises
    ------
    ValueError
        A title, bundle, data set, part or score is wrong.
    OSError
        Something is not there.

    """
    datasets, parts = as_tuple(datasets, str), as_tuple(parts, str)
    score_names = as_tuple(scores, str) or tuple(SCORES)
    for name in score_names:
        check_choice('--score', name, sorted(SCORES))
    if limit is not None and limit < 0:
        raise ValueError(f'--limit must be at least 0, got {limit}. 0 takes all images.')
    loaded = load_bundles(bundles)
    parsed = [parse_dataset(text) for text in datasets]
    opened = open_datasets(parsed, max(one.num_classes for one in loaded.values()))
    layouts = {title: layout for title, layout, _ in parsed}
    check_parts(parts, opened)
    folder = None if output is None else Path(output)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)  # before an hour of prediction
    results: Results = {}
    seconds: dict[str, float] = {}
    for bundle_title, bundle in loaded.items():
        predictor = Predictor.from_bundle(
            bundle,
            work_short_side=work_short_side,
            work_size=work_size,
            device=device,
            backend=backend,
            precision=precision,
        )
        for title, dataset in opened.items():
            start = time.perf_counter()
            length = min(limit, len(dataset)) if limit else len(dataset)
            by_part = evaluate_pixels(
                predictor,
                dataset,
                scores=score_names,
                parts=parts,
                num_classes=bundle.num_classes,
                names_classes=fits_classes(layouts[title], bundle.class_names),
                indices=tqdm(
                    range(length),
                    desc=f'{bundle_title}, {title}',
                    unit='image',
                    disable=not progress,
                ),
                draws=draws,
                seed=seed,
            )
            seconds[f'{bundle_title}, {title}'] = time.perf_counter() - start
            for part, evaluation in by_part.items():
                row = f'{title}, {part}' if part else title
                results.setdefault(row, {})[bundle_title] = evaluation
    table = format_table(results)
    stated = {
        'part': list(parts),
        'score': list(as_tuple(scores, str)) or None,
        'limit': limit,
        'draws': draws,
        'seed': seed,
        'device': device,
        'backend': backend,
        'precision': precision,
    }
    report = {
        'bundles': {title: describe_bundle(bundle) for title, bundle in loaded.items()},
        'datasets': dict(zip(opened, datasets, strict=True)),
        'work_short_side': work_short_side,
        'work_size': work_size,
        'arguments': stated,
        'revision': source_revision(),
        'machine': machine(),
        'seconds': seconds,
        'results': {
            row: {title: to_record(one) for title, one in by_bundle.items()}
            for row, by_bundle in results.items()
        },
    }
    figures = write_report(folder, report, table, results) if folder else ()
    return EvaluationResult(results, table, report, folder, figures)


def check_parts(parts: Sequence[str], datasets: Mapping[str, SampleDataset]) -> None:
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


def load_bundles(given: Any) -> dict[str, Bundle]:
    """Return bundles by title; the installed one where none is given."""
    if not given:
        return {'default': load_bundle()}
    if isinstance(given, Mapping):
        return {title: load_bundle(one) for title, one in given.items()}
    bundles: dict[str, Bundle] = {}
    for one in as_tuple(given, lambda one: one):
        title, place = _name_bundle(one)
        if title in bundles:
            raise ValueError(
                f'bundles must have different titles, got {title!r} twice. '
                'Name them: --bundle TITLE=PATH.'
            )
        bundles[title] = load_bundle(place)
    return bundles


def _name_bundle(given: Any) -> tuple[str, Any]:
    if isinstance(given, Bundle):
        return given.name, given
    title, equals, path = str(given).partition('=')
    # runs/lr=0.1/bundle is a path
    is_named = bool(equals and title and path) and not Path(given).exists()
    return (title, path) if is_named else (Path(given).name, given)


def open_datasets(
    parsed: Sequence[tuple[str, str, Path]], num_classes: int
) -> dict[str, SampleDataset]:
    """Return data sets by title, of (title, layout, folder)."""
    datasets = {}
    for title, name, path in parsed:
        if title in datasets:
            raise ValueError(
                f'data sets must have different titles, got {title!r} twice. '
                f'Name them with TITLE:NAME=PATH.'
            )
        datasets[title] = open_dataset(name, path, num_classes=num_classes)
    return datasets


def describe_bundle(bundle: Bundle) -> dict[str, Any]:
    """Return what a report says about a bundle."""
    return {
        'model_id': bundle.model_id,
        'architecture': bundle.architecture,
        'work_short_side': bundle.work_short_side,
        'provenance': json.loads(json.dumps(dict(bundle.provenance), default=str)),
    }
