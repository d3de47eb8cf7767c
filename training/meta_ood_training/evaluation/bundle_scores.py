"""`evaluate`: bundles x data sets -> table, JSON and figures of pixel scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
import time
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.settings import PipelineSettings
from meta_ood_training.datasets import parse_dataset
from meta_ood_training.datasets.registry import fits_classes
from meta_ood_training.evaluation.components import (
    ComponentRow,
    count_components,
    format_components,
    to_component_record,
)
from meta_ood_training.evaluation.frame_walk import check_resumable, keep_in, walk_frames
from meta_ood_training.evaluation.opening import (
    check_parts,
    describe_bundle,
    load_bundles,
    open_datasets,
)
from meta_ood_training.evaluation.pixel_evaluation import PixelCounts
from meta_ood_training.evaluation.prediction import find_scores, Predictor
from meta_ood_training.evaluation.report import format_table, Results, to_record, write_report
from meta_ood_training.evaluation.sharing import join_ranks, own_device
from meta_ood_training.plain_arguments import as_tuple, check_choice
from meta_ood_training.provenance.revision import machine, source_revision
from meta_ood_training.scores import SIZE_RULES
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
    skipped : dict of str to dict of str to str
        Title of the data -> frame that could not be read -> why; it counts nowhere.

    """

    results: Results
    table: str
    report: dict[str, Any]
    output: Path | None
    figures: tuple[Path, ...]
    skipped: dict[str, dict[str, str]]

    def __repr__(self) -> str:
        """Return the table."""
        return self.table


def evaluate(
    datasets: str | Sequence[str],
    *,
    bundles: Bundle | str | Path | Sequence[str | Path] | Mapping[str, Any] | None = None,
    parts: Sequence[str] = (),
    scores: str | Sequence[str] = (),
    components: str = '',
    output: str | Path | None = None,
    work_short_side: int | None = None,
    work_size: tuple[int, int] | None = None,
    limit: int | None = None,
    draws: int = 1000,
    seed: int = 0,
    device: str = 'auto',
    backend: str = 'auto',
    precision: str = 'fp32',
    resume: bool = False,
    progress: bool = False,
) -> EvaluationResult:
    """
    Score bundles on data sets, pixel by pixel.

    Started by torchrun, the frames are shared out over its processes; each returns the whole.

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
    components : str
        Size rule by which components are scored in a second pass, too: 'anomaly_track',
        'obstacle_track' (of SegmentMeIfYouCan) or 'all'; none where empty. Pixels are taken for
        OoD from the score with the best F1 of pixels on, from the bundle's entropy threshold on,
        and where its classifier accepts.
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
    resume : bool
        Go on with an interrupted evaluation in `output`.
    progress : bool
        Whether a bar is shown.

    Returns
    -------
    EvaluationResult
        Scores, table, and the files written.

    Raises
    ------
    ValueError
        A title, bundle, data set, part or score is wrong, or most of a data set is unreadable.
    OSError
        Something is not there.

    """
    datasets, parts = as_tuple(datasets, str), as_tuple(parts, str)
    score_names = find_scores(as_tuple(scores, str))
    if components:
        check_choice('--components', components, tuple(SIZE_RULES))
    if limit is not None and limit < 0:
        raise ValueError(f'--limit must be at least 0, got {limit}. 0 takes all images.')
    loaded = load_bundles(bundles)
    parsed = [parse_dataset(text) for text in datasets]
    opened = open_datasets(parsed, max(one.num_classes for one in loaded.values()))
    layouts = {title: layout for title, layout, _ in parsed}
    check_parts(parts, opened)
    folder = None if output is None else Path(output)
    short_side = -1 if work_short_side is None else work_short_side
    results: Results = {}
    rows: list[ComponentRow] = []
    seconds: dict[str, float] = {}
    skipped: dict[str, dict[str, str]] = {}
    with join_ranks() as ranks:
        if folder:
            check_resumable(folder, resume=resume)
            folder.mkdir(parents=True, exist_ok=True)  # before an hour of prediction
        for bundle_title, bundle in loaded.items():
            predictor = Predictor.from_bundle(
                bundle,
                work_short_side=work_short_side,
                work_size=work_size,
                device=own_device(device),
                backend=backend,
                precision=precision,
            )
            pipeline = None
            if components and bundle.meta_classifiers and work_size is None:
                settings = PipelineSettings(work_short_side=short_side)
                pipeline = OodPipeline(
                    bundle, settings, own_device(device), backend=backend, precision=precision
                )
            for title, dataset in opened.items():
                start = time.perf_counter()
                walked = f'{bundle_title}, {title}'
                indices = range(min(limit, len(dataset)) if limit else len(dataset))
                facts = {
                    'bundle': bundle.model_id,
                    'data': str(parsed[list(opened).index(title)][2]),
                    'frames': len(indices),
                    'scores': list(score_names),
                    'parts': list(parts),
                    'work_short_side': work_short_side,
                    'work_size': work_size,
                    'precision': precision,
                }
                walk = partial(
                    walk_frames,
                    dataset,
                    indices,
                    title=title,
                    ranks=ranks,
                    progress=partial(
                        tqdm, desc=walked, unit='image', disable=not progress or ranks.rank > 0
                    ),
                )
                make = partial(
                    PixelCounts,
                    predictor,
                    dataset,
                    scores=score_names,
                    parts=parts,
                    num_classes=bundle.num_classes,
                    names_classes=fits_classes(layouts[title], bundle.class_names),
                )
                counts, skipped_here = walk(
                    make, kept=keep_in(folder, walked, facts, resume=resume)
                )
                skipped.setdefault(title, {}).update(skipped_here)
                of_parts = counts.evaluate(draws, seed)
                if components:
                    rows += count_components(
                        of_parts[''],
                        partial(
                            walk,
                            kept=keep_in(folder, f'{walked}, {components}', facts, resume=resume),
                        ),
                        data=title,
                        title=bundle_title,
                        bundle=bundle,
                        predictor=predictor,
                        pipeline=pipeline,
                        rule=components,
                    )
                seconds[walked] = time.perf_counter() - start
                for part, evaluation in of_parts.items():
                    row = f'{title}, {part}' if part else title
                    results.setdefault(row, {})[bundle_title] = evaluation
    skipped = {title: one for title, one in skipped.items() if one}
    table = format_table(results)
    if rows:
        table += f'\n\n{format_components(rows, components)}'
    stated = {
        'part': list(parts),
        'score': list(as_tuple(scores, str)) or None,
        'components': components or None,
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
        'regions_of_interest': {
            title: dataset.region_of_interest for title, dataset in opened.items()
        },
        'work_short_side': work_short_side,
        'work_size': work_size,
        'arguments': stated,
        'revision': source_revision(),
        'machine': machine(),
        'seconds': seconds,
        'processes': ranks.count,
        'skipped': skipped,
        'components': [to_component_record(row) for row in rows],
        'results': {
            row: {title: to_record(one) for title, one in by_bundle.items()}
            for row, by_bundle in results.items()
        },
    }
    figures = write_report(folder, report, table, results) if folder and not ranks.rank else ()
    return EvaluationResult(results, table, report, folder, figures, skipped)
