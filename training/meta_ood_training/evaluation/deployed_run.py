"""Bundles x data sets x decisions -> scores of what each publishes, and pictures of its errors."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
import time

import cv2
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.settings import PipelineSettings
from meta_ood_training.datasets import SampleDataset
from meta_ood_training.evaluation.deployed import PublishedDecisions, score_decisions
from meta_ood_training.evaluation.deployed_report import DeployedRow
from meta_ood_training.evaluation.gallery import draw_gallery
from meta_ood_training.evaluation.pixel_evaluation import is_of_part
from meta_ood_training.evaluation.publishing import parse_decisions, publish_segments
import numpy as np


def score_published(
    arguments: argparse.Namespace,
    bundles: Mapping[str, Bundle],
    datasets: Mapping[str, SampleDataset],
    *,
    progress: Callable[[int, int | None, str], Iterable[int]],
) -> tuple[list[DeployedRow], dict[str, float]]:
    """Return one row a decision, bundle and data set or part of it, and what each pass took."""
    decisions = parse_decisions(arguments.decision, arguments.work_short_side)
    rows: list[DeployedRow] = []
    seconds: dict[str, float] = {}
    for bundle_title, bundle in bundles.items():
        pipeline = OodPipeline(
            bundle,
            device=arguments.device,
            backend=arguments.backend,
            precision=arguments.precision,
        )
        for title, dataset in datasets.items():
            start = time.perf_counter()
            indices = progress(len(dataset), arguments.limit, f'{bundle_title}, {title}')
            published = publish_segments(pipeline, dataset, decisions, indices=indices)
            seconds[f'{bundle_title}, {title}'] = time.perf_counter() - start
            for decision, whole in published.items():
                if arguments.gallery:
                    _draw_gallery(
                        arguments,
                        pipeline,
                        dataset,
                        decisions[decision],
                        whole,
                        f'{title}, {bundle_title}, {decision}',
                    )
                for part in ('', *arguments.part):
                    names = whole.segments.frame_name
                    tags = getattr(dataset, 'tags', {})
                    keep = np.array([is_of_part(name, tags, part) for name in names])
                    if keep.any():
                        scores = score_decisions(
                            whole.of_frames(keep), draws=arguments.draws, seed=arguments.seed
                        )
                        data = f'{title}, {part}' if part else title
                        rows.append(DeployedRow(data, bundle_title, decision, scores))
    return rows, seconds


def _draw_gallery(
    arguments: argparse.Namespace,
    pipeline: OodPipeline,
    dataset: SampleDataset,
    settings: PipelineSettings,
    published: PublishedDecisions,
    title: str,
) -> None:
    page = draw_gallery(
        pipeline,
        dataset,
        settings,
        published,
        indices=range(len(dataset)),
        count=arguments.gallery,
        title=f'{title}: objects green found, red missed; segments yellow true, magenta false',
    )
    if page is not None:
        stem = ''.join(letter if letter.isalnum() else '_' for letter in title)
        path = arguments.output / f'{stem}.png'
        cv2.imwrite(str(path), cv2.cvtColor(page, cv2.COLOR_RGB2BGR))
        print(f'written to {path}')
