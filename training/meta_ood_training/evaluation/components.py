"""`evaluate --components`: a second pass -> component scores of each way to decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
import math
from typing import Any

import cv2
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.dense import DensePrediction
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_training.datasets import IGNORED, OOD, Sample
from meta_ood_training.evaluation.pixel_evaluation import PixelEvaluation
from meta_ood_training.evaluation.prediction import SCORES
from meta_ood_training.markdown import render
from meta_ood_training.scores import (
    ComponentCounts,
    ComponentScores,
    find_best_f1,
    SIZE_RULES,
    SizeRule,
)
import numpy as np

Masks = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""(H, W, 3) RGB image -> (H, W) bool masks of what is taken for OoD, by title."""


@dataclass(frozen=True)
class ComponentRow:
    """
    Component scores of one way to decide, on one data set.

    Attributes
    ----------
    threshold : float
        Score from which a pixel is taken for OoD; NaN where several decide.

    """

    data: str
    bundle: str
    score: str
    decision: str
    threshold: float
    objects: int
    segments: int
    scores: ComponentScores


class ComponentPass:
    """Counts of components, by title of the mask, as `walk_frames` wants them."""

    def __init__(self, masks: Masks, titles: Sequence[str], rule: SizeRule) -> None:
        self.masks, self.rule = masks, rule
        self.counts = {title: ComponentCounts() for title in titles}

    def count(self, index: int, sample: Sample) -> None:
        """Decide a frame and measure its components."""
        is_ood, is_valid = sample.target == OOD, sample.target != IGNORED
        for title, mask in self.masks(sample.image).items():
            self.counts[title].update(mask, is_ood, is_valid, self.rule)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the counts as arrays by name."""
        return {
            f'{title}.{name}': values
            for title, counts in self.counts.items()
            for name, values in counts.to_arrays().items()
        }

    def add_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Add what `to_arrays` returned."""
        for title, counts in self.counts.items():
            counts.add_arrays({name: arrays[f'{title}.{name}'] for name in ('siou', 'ppv')})


def count_components(
    evaluation: PixelEvaluation,
    walk: Callable[[Callable[[], ComponentPass]], tuple[ComponentPass, dict[str, str]]],
    *,
    data: str,
    title: str,
    bundle: Bundle,
    predictor: Callable[[np.ndarray], DensePrediction],
    pipeline: OodPipeline | None,
    rule: str,
) -> list[ComponentRow]:
    """
    Walk the data again with the thresholds that the first pass found.

    Parameters
    ----------
    evaluation : PixelEvaluation
        Of the first pass; there are no rows where it has no scores.
    walk : callable
        Maker of counts -> counts of all frames, see `walk_frames`.
    data, title : str
        Of the data and of the bundle.
    pipeline : OodPipeline or None
        Decides with the bundle's classifier; None leaves that row out.
    rule : str
        A key of SIZE_RULES.

    """
    decisions = [
        (score, 'best F1 of pixels', find_best_f1(evaluation.counts[score])[0])
        for score in evaluation.scores
    ]
    if not decisions:
        return []
    if bundle.score in evaluation.scores:  # the threshold is one of this score
        decisions.append((bundle.score, 'of the bundle', bundle.entropy_threshold))
    accepted = (bundle.score, 'accepted by the classifier', float('nan'))
    titles = [f'{score}, {decision}' for score, decision, _ in decisions]

    def masks(image: np.ndarray) -> dict[str, np.ndarray]:
        dense = predictor(image)
        found = {
            name: SCORES[score](dense) >= np.float32(threshold)
            for name, (score, _, threshold) in zip(titles, decisions, strict=True)
        }
        if pipeline is not None:
            found[_ACCEPTED] = accepted_mask(pipeline, image)
        return found

    shown = [*decisions, accepted] if pipeline is not None else decisions
    names = [*titles, _ACCEPTED] if pipeline is not None else titles
    counts, _ = walk(lambda: ComponentPass(masks, names, SIZE_RULES[rule]))
    return [
        ComponentRow(data, title, *decision, one.objects, one.segments, one.scores())
        for decision, one in zip(shown, counts.counts.values(), strict=True)
    ]


_ACCEPTED = 'accepted'


def accepted_mask(pipeline: OodPipeline, image: np.ndarray) -> np.ndarray:
    """Return where the published and accepted segments of an image lie, (H, W) bool."""
    result = pipeline(image)
    accepted = np.concatenate([[False], result.accepted])[result.segments.labels]
    height, width = image.shape[:2]
    mask = cv2.resize(
        accepted.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT
    )
    return np.asarray(mask) > 0


def format_components(rows: Sequence[ComponentRow], rule: str) -> str:
    """Return component scores as a Markdown table."""
    return render(
        'meta_ood_training.evaluation', 'components.md.jinja', rows=rows, rule=rule, cell=_cell
    ).rstrip()


def to_component_record(row: ComponentRow) -> dict[str, Any]:
    """Return a row as plain values for JSON, which has no NaN."""
    record = asdict(row)
    record |= record.pop('scores')
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in record.items()
    }


def _cell(value: float) -> str:
    return '' if math.isnan(value) else f'{value:.3f}'
