"""Bundles on a labelled set -> published segments and pixels; a network runs once an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.files.image_file import write_image_file
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.settings import PipelineSettings
from meta_ood_training.adaptation.stretches import JUDGE
from meta_ood_training.datasets.folder import Folder
from meta_ood_training.datasets.sample import IGNORED, OOD
from meta_ood_training.evaluation.deployed import (
    DeployedScores,
    PublishedDecisions,
    score_decisions,
)
from meta_ood_training.evaluation.gallery import draw_gallery
from meta_ood_training.evaluation.publishing import DecisionRecord
from meta_ood_training.scores import (
    ConfusionCounts,
    GroupCounts,
    Interval,
    measure_scores,
    PixelScores,
    ScoreHistogram,
)
from meta_ood_training.segments.extraction import find_objects, resize_labels, run_network
import numpy as np
from tqdm import tqdm


@dataclass(frozen=True, eq=False)
class Judgement:
    """
    What one bundle does on a set.

    Attributes
    ----------
    pixels : PixelScores or None
        Of the entropy on the work grid; None where one kind of pixel is missing.
    mean_iou : float
        NaN where no pixel has a class.

    """

    segments: DeployedScores
    pixels: PixelScores | None
    intervals: Mapping[str, Interval]
    mean_iou: float
    published: PublishedDecisions = field(repr=False)


def judge(
    bundles: Mapping[str, Bundle],
    dataset: Folder,
    *,
    device: str,
    seed: int,
    progress: bool = False,
    title: str = JUDGE,
) -> dict[str, Judgement]:
    """
    Return the judgement of each bundle, by its title.

    Parameters
    ----------
    bundles : mapping of str to Bundle
        Of any number of networks on one work grid; those of one network share its passes.

    """
    pipelines = {name: OodPipeline(one, device=device) for name, one in bundles.items()}
    records = {name: DecisionRecord(one.num_classes) for name, one in bundles.items()}
    sums = {name: _Pixels(one.num_classes) for name, one in bundles.items()}
    indices = tqdm(range(len(dataset)), desc=title, unit='image', mininterval=1,
                   disable=not progress)  # fmt: skip
    for index in indices:
        sample = dataset[index]
        ran: dict[str, tuple] = {}
        for name, bundle in bundles.items():
            network = bundle.network_sha256
            if network not in ran:
                ran[network] = run_network(pipelines[name], sample.image)
            logits, size = ran[network]
            target = resize_labels(sample.target, size)
            result = pipelines[name].from_logits(logits, size)
            records[name].add(sample, target, find_objects(target, None), result)
            sums[name].add(sample.group, target, result.entropy, result.semantic)
    judged = {}
    for name, record in records.items():
        published, counted = record.finish(), sums[name]
        judged[name] = Judgement(
            segments=score_decisions(published, seed=seed),
            pixels=counted.scores(),
            intervals=counted.groups.intervals(seed=seed),
            mean_iou=counted.confusion.mean_iou(),
            published=published,
        )
    return judged


def draw_errors(
    path: Path, bundle: Bundle, dataset: Folder, judgement: Judgement, *, device: str, count: int
) -> None:
    """Write one picture of the images with most errors, if there are any."""
    page = draw_gallery(
        OodPipeline(bundle, device=device),
        dataset,
        PipelineSettings(),
        judgement.published,
        indices=range(len(dataset)),
        count=count,
        title='objects green found, red missed; segments yellow true, magenta false',
    )
    if page is not None:
        write_image_file(path, cv2.cvtColor(page, cv2.COLOR_RGB2BGR))


class _Pixels:
    """Pixels of one network by their entropy."""

    def __init__(self, num_classes: int) -> None:
        self.histogram, self.groups = ScoreHistogram(), GroupCounts()
        self.confusion = ConfusionCounts(num_classes, (0.5,))
        self._counted = np.zeros(2, np.int64)

    def add(
        self, group: str, target: np.ndarray, entropy: np.ndarray, semantic: np.ndarray
    ) -> None:
        used = target != IGNORED
        is_ood = target[used] == OOD
        self.histogram.update(entropy[used], is_ood)
        self.groups.update(group, entropy[used], is_ood)
        self.confusion.update(semantic, entropy, target)
        self._counted += (is_ood.sum(), (~is_ood).sum())

    def scores(self) -> PixelScores | None:
        return measure_scores(self.histogram.counts()) if self._counted.all() else None
