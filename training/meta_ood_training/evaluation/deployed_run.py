"""Bundles x data sets x decisions -> scores of what each publishes, and pictures of its errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
import json
from pathlib import Path
import time
from typing import Any

import cv2
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.files.image_file import write_image_file
from meta_ood_ros.core.files.whole_folders import replace_folder
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.settings import PipelineSettings
from meta_ood_training.datasets import parse_dataset, SampleDataset
from meta_ood_training.evaluation.deployed import PublishedDecisions, score_decisions
from meta_ood_training.evaluation.deployed_comparison import (
    compare_decisions,
    DeployedDifference,
)
from meta_ood_training.evaluation.deployed_report import (
    DeployedRow,
    format_deployed,
    to_deployed_record,
)
from meta_ood_training.evaluation.frame_walk import (
    check_resumable,
    keep_in,
    UNFINISHED,
    walk_frames,
)
from meta_ood_training.evaluation.gallery import draw_gallery
from meta_ood_training.evaluation.opening import (
    check_parts,
    describe_bundle,
    load_bundles,
    open_datasets,
)
from meta_ood_training.evaluation.pixel_evaluation import is_of_part
from meta_ood_training.evaluation.publishing import parse_decisions, PublishedCounts
from meta_ood_training.evaluation.sharing import join_ranks, own_device
from meta_ood_training.plain_arguments import as_tuple
from meta_ood_training.provenance.revision import machine, source_revision
import numpy as np
from tqdm import tqdm


@dataclass(frozen=True, repr=False)
class DeployedEvaluation:
    """
    What decisions of bundles publish on data sets is worth; its repr is the table.

    Attributes
    ----------
    rows : tuple of DeployedRow
        One a decision, bundle and data set or part of it.
    table : str
        The scores in Markdown.
    output : Path or None
        Folder of segments.json, segments.md and the galleries.
    skipped : dict of str to dict of str to str
        Title of the data -> image that could not be read -> why; it counts nowhere.
    differences : tuple of DeployedDifference
        Of each decision from the first one, on the same images.

    """

    rows: tuple[DeployedRow, ...]
    table: str
    output: Path | None
    skipped: dict[str, dict[str, str]]
    differences: tuple[DeployedDifference, ...] = ()

    def __repr__(self) -> str:
        """Return the table."""
        return self.table


def evaluate_segments(
    datasets: str | Sequence[str],
    *,
    bundles: Bundle | str | Path | Sequence[str | Path] | Mapping[str, Any] | None = None,
    decisions: str | Sequence[str] = (),
    parts: Sequence[str] = (),
    gallery: int = 0,
    output: str | Path | None = None,
    work_short_side: int | None = None,
    limit: int | None = None,
    draws: int = 1000,
    seed: int = 0,
    device: str = 'auto',
    backend: str = 'auto',
    precision: str = 'fp32',
    resume: bool = False,
    progress: bool = False,
) -> DeployedEvaluation:
    """
    Score the segments that the node would publish.

    Started by torchrun, the frames are shared out over its processes; each returns the whole.

    Parameters
    ----------
    datasets, bundles, parts, work_short_side, limit, draws, seed, device, backend, precision
        As in `evaluate`.
    decisions : str or sequence of str
        '[TITLE=]ENTROPY[:META[:CORE]]', thresholds to compare; what is left out is the bundle's.
    gallery : int
        So many images with most errors are drawn for each decision; needs `output`.
    output : str or Path, optional
        Folder for segments.json, segments.md and the galleries.
    resume : bool
        Go on with an interrupted evaluation in `output`.
    progress : bool
        Whether a bar is shown.

    """
    datasets, parts = as_tuple(datasets, str), as_tuple(parts, str)
    if gallery and output is None:
        raise ValueError('--gallery needs a folder, got no --output. Name one.')
    if limit is not None and limit < 0:
        raise ValueError(f'--limit must be at least 0, got {limit}. 0 takes all images.')
    settings = parse_decisions(as_tuple(decisions, str), work_short_side)
    loaded = load_bundles(bundles)
    parsed = [parse_dataset(text) for text in datasets]
    opened = open_datasets(parsed, max(one.num_classes for one in loaded.values()))
    check_parts(parts, opened)
    folder = None if output is None else Path(output)
    rows: list[DeployedRow] = []
    judged: dict[str, list[tuple[str, PublishedDecisions]]] = {}
    seconds: dict[str, float] = {}
    skipped: dict[str, dict[str, str]] = {title: {} for title in opened}
    pages: dict[str, np.ndarray] = {}
    with join_ranks() as ranks:
        if folder:
            check_resumable(folder, resume=resume)
            folder.mkdir(parents=True, exist_ok=True)  # before an hour of prediction
        for bundle_title, bundle in loaded.items():
            pipeline = OodPipeline(
                bundle, device=own_device(device), backend=backend, precision=precision
            )
            for (title, dataset), (_, _, path) in zip(opened.items(), parsed, strict=True):
                name, start = f'{bundle_title}, {title}', time.perf_counter()
                indices = range(min(limit, len(dataset)) if limit else len(dataset))
                facts = {
                    'bundle': bundle.model_id,
                    'data': str(path),
                    'frames': len(indices),
                    'decisions': [[one, asdict(values)] for one, values in settings.items()],
                    'precision': precision,
                }
                counts, skipped_here = walk_frames(
                    dataset,
                    indices,
                    partial(PublishedCounts, pipeline, settings),
                    title=title,
                    ranks=ranks,
                    kept=keep_in(folder, f'{name}, segments', facts, resume=resume),
                    progress=partial(
                        tqdm, desc=name, unit='image', disable=not progress or ranks.rank > 0
                    ),
                )
                skipped[title] |= skipped_here
                seconds[name] = time.perf_counter() - start
                for decision, whole in counts.finish().items():
                    if gallery and not ranks.rank:
                        stem = f'{title}, {bundle_title}, {decision}'
                        page = _draw(stem, gallery, pipeline, dataset, settings[decision], whole)
                        pages |= {} if page is None else {stem: page}
                    for part in ('', *parts):
                        tags = getattr(dataset, 'tags', {})
                        names = whole.segments.frame_name
                        keep = np.array([is_of_part(one, tags, part) for one in names])
                        if keep.any():
                            kept = whole.of_frames(keep)
                            scores = score_decisions(kept, draws=draws, seed=seed)
                            data = f'{title}, {part}' if part else title
                            of = f'{bundle_title}, {decision}'
                            judged.setdefault(data, []).append((of, kept))
                            rows.append(DeployedRow(data, bundle_title, decision, scores))
    differences = [
        compare_decisions(
            several[0][1], one, titles=(data, several[0][0], title), draws=draws, seed=seed
        )
        for data, several in judged.items()
        for title, one in several[1:]
    ]
    table = format_deployed(rows, differences)
    if folder and not ranks.rank:
        report = {
            'bundles': {title: describe_bundle(bundle) for title, bundle in loaded.items()},
            'datasets': dict(zip(opened, datasets, strict=True)),
            'work_short_side': work_short_side,
            'arguments': {
                'decision': list(as_tuple(decisions, str)),
                'part': list(parts),
                'limit': limit,
                'draws': draws,
                'seed': seed,
                'device': device,
                'backend': backend,
                'precision': precision,
            },
            'revision': source_revision(),
            'machine': machine(),
            'seconds': seconds,
            'processes': ranks.count,
            'skipped': {title: one for title, one in skipped.items() if one},
            'decisions': [to_deployed_record(row) for row in rows],
            'differences': [asdict(one) for one in differences],
        }
        with replace_folder(folder, ours=(UNFINISHED,)) as made:
            for title, page in pages.items():
                stem = ''.join(letter if letter.isalnum() else '_' for letter in title)
                write_image_file(made / f'{stem}.png', cv2.cvtColor(page, cv2.COLOR_RGB2BGR))
            (made / 'segments.json').write_text(json.dumps(report, indent=1) + '\n')
            (made / 'segments.md').write_text(table + '\n')
    return DeployedEvaluation(tuple(rows), table, folder, skipped, tuple(differences))


def _draw(
    title: str,
    count: int,
    pipeline: OodPipeline,
    dataset: SampleDataset,
    settings: PipelineSettings,
    published: PublishedDecisions,
) -> np.ndarray | None:
    place = {name: index for index, name in enumerate(dataset.names)}
    return draw_gallery(
        pipeline,
        dataset,
        settings,
        published,
        indices=[place[name] for name in published.segments.frame_name],
        count=count,
        title=f'{title}: objects green found, red missed; segments yellow true, magenta false',
    )
