"""Predictions on a data set -> pixel scores, intervals, mIoU, control pastes: one pass."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from meta_ood_ros.core.classes import CITYSCAPES_NAMES
from meta_ood_ros.core.dense import DensePrediction
from meta_ood_training.datasets import IGNORED, OOD, Sample, SampleDataset
from meta_ood_training.evaluation.misclassification import WrongPixels
from meta_ood_training.evaluation.prediction import find_scores, SCORES
from meta_ood_training.scores import (
    ConfusionCounts,
    GroupCounts,
    Interval,
    measure_scores,
    PixelScores,
    ScoreCounts,
    ScoreHistogram,
)
from meta_ood_training.scores.groups import join_groups
import numpy as np


@dataclass(frozen=True)
class ControlScores:
    """
    In-distribution objects that were pasted, against the same classes unpasted.

    Attributes
    ----------
    pasted_fpr, unpasted_fpr : float
        Share of their pixels at or above the threshold of 95 % TPR, both with the classes in
        the proportion of the pasted pixels: another mix of classes is no effect of pasting. A
        score that sees pasting instead of OoD has a large ratio.

    """

    pasted_fpr: float
    unpasted_fpr: float
    pasted_pixels: int
    unpasted_pixels: int


@dataclass(frozen=True, eq=False)
class PixelEvaluation:
    """
    One network on one data set, or on a part of it.

    Attributes
    ----------
    scores : dict of str to PixelScores
        By name of the score; empty where the data has no OoD or no in-distribution pixel.
    intervals : dict of str to dict of str to Interval
        95 % bootstrap intervals over groups, by name of the score.
    wrong : dict of str to PixelScores
        How well each finds wrongly classified pixels; empty where that was not asked.

    """

    images: int
    groups: int
    scores: Mapping[str, PixelScores]
    intervals: Mapping[str, Mapping[str, Interval]]
    counts: Mapping[str, ScoreCounts]
    confusion: ConfusionCounts
    control: ControlScores | None
    wrong: Mapping[str, PixelScores] = field(default_factory=dict)


def evaluate_pixels(
    predict: Callable[[np.ndarray], DensePrediction],
    dataset: SampleDataset,
    *,
    scores: Sequence[str] = ('entropy',),
    parts: Sequence[str] = (),
    num_classes: int = len(CITYSCAPES_NAMES),
    names_classes: bool = True,
    indices: Iterable[int] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, PixelEvaluation]:
    """
    Return the scores of a network on a data set.

    Parameters
    ----------
    predict : callable
        (H, W, 3) uint8 RGB image -> DensePrediction at (H, W), such as a `Predictor`.
    scores : sequence of str
        Names of `prediction.SCORES`.
    parts : sequence of str
        Beginnings of names (`Seq05VD`), or tags of a manifest, that are reported separately, too.
    names_classes : bool
        Whether the class ids of the targets are the network's; without, there is no mean IoU.

    Returns
    -------
    dict of str to PixelEvaluation
        Under '' the whole set, under each part its own; parts without an image are left out.

    """
    counts = PixelCounts(
        predict,
        dataset,
        scores=scores,
        parts=parts,
        num_classes=num_classes,
        names_classes=names_classes,
    )
    for index in range(len(dataset)) if indices is None else indices:
        counts.count(index, dataset[index])
    return counts.evaluate(draws, seed)


class PixelCounts:
    """What `evaluate_pixels` counts frame by frame, as ranks exchange it and files keep it."""

    def __init__(
        self,
        predict: Callable[[np.ndarray], DensePrediction],
        dataset: SampleDataset,
        *,
        scores: Sequence[str],
        parts: Sequence[str],
        num_classes: int,
        names_classes: bool,
    ) -> None:
        self._predict, self._scores = predict, find_scores(scores)
        self._control = getattr(dataset, 'control', None)
        self._tags = getattr(dataset, 'tags', {})
        same = getattr(dataset, 'equivalent_predictions', {})
        self._tallies = {
            part: Tally(self._scores, num_classes, names_classes, same) for part in ('', *parts)
        }

    def count(self, index: int, sample: Sample) -> None:
        """Predict a frame and count its pixels."""
        dense = self._predict(sample.image)
        scores = {name: SCORES[name](dense) for name in self._scores}
        pasted = self._control(index) if self._control is not None else None
        for part, tally in self._tallies.items():
            if is_of_part(sample.name, self._tags, part):
                tally.update(sample, dense, scores, pasted)

    def evaluate(self, draws: int, seed: int) -> dict[str, PixelEvaluation]:
        """Return what `evaluate_pixels` does."""
        return {
            part: tally.evaluate(draws, seed)
            for part, tally in self._tallies.items()
            if tally.images or not part
        }

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the counts as arrays by name."""
        return {
            f'{place}.{name}': values
            for place, tally in enumerate(self._tallies.values())
            for name, values in tally.to_arrays().items()
        }

    def add_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Add what `to_arrays` returned."""
        for place, tally in enumerate(self._tallies.values()):
            tally.add_arrays(below(arrays, str(place)))


def below(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose name begins so, without that."""
    start = f'{prefix}.'
    return {name[len(start) :]: one for name, one in arrays.items() if name.startswith(start)}


def is_of_part(name: str, tags: Mapping[str, Sequence[str]], part: str) -> bool:
    """Return whether an image belongs to a part of its data set."""
    return name.startswith(part) or part in tags.get(name, ())


@dataclass(eq=False)
class Tally:
    """Counts of one part of a data set, by name of the score."""

    score_names: tuple[str, ...]
    num_classes: int
    names_classes: bool
    same: Mapping[int, int]
    counts_wrong: bool = False
    images: int = 0
    histograms: dict[str, ScoreHistogram] = field(init=False)
    groups: dict[str, GroupCounts] = field(init=False)
    confusion: ConfusionCounts = field(init=False)
    # by class; is_ood = pasted, so that both sides of the comparison share one histogram
    controls: dict[int, ScoreHistogram] = field(init=False)
    seen_groups: set[str] = field(default_factory=set)
    wrong: WrongPixels = field(init=False)

    def __post_init__(self) -> None:
        self.histograms = {name: ScoreHistogram() for name in self.score_names}
        self.groups = {name: GroupCounts() for name in self.score_names}
        self.confusion = ConfusionCounts(self.num_classes, equivalent_predictions=self.same)
        self.controls = {one: ScoreHistogram() for one in _control_classes()}
        judged = self.score_names if self.counts_wrong and self.names_classes else ()
        self.wrong = WrongPixels(judged, self.num_classes, self.same)

    def update(
        self,
        sample: Sample,
        dense: DensePrediction,
        scores: Mapping[str, np.ndarray],
        pasted: np.ndarray | None,
    ) -> None:
        """Count one frame: classes, and a map (H, W) of each score that is there."""
        self.images += 1
        self.seen_groups.add(sample.group)
        if self.names_classes:
            self.confusion.update(dense.semantic, dense.entropy, sample.target)
        self.wrong.update(sample, dense.semantic, scores)
        valid = sample.target != IGNORED
        is_ood = sample.target[valid] == OOD
        for name in [one for one in self.score_names if one in scores]:
            values = scores[name][valid]
            self.histograms[name].update(values, is_ood)
            self.groups[name].update(sample.group, values, is_ood)
        if pasted is not None and 'entropy' in self.score_names:
            for one, histogram in self.controls.items():
                pixels = sample.target == one
                histogram.update(dense.entropy[pixels], pasted[pixels])

    def _parts(self) -> dict[str, ScoreHistogram | GroupCounts]:
        return {
            **{f'histogram.{name}': one for name, one in self.histograms.items()},
            **{f'group.{name}': one for name, one in self.groups.items()},
            **{f'control.{train_id}': one for train_id, one in self.controls.items()},
            **{f'wrong.{name}': one for name, one in self.wrong.histograms.items()},
        }

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the counts as arrays by name."""
        arrays = {
            'images': np.array(self.images),
            'seen_groups': np.array(sorted(self.seen_groups), np.str_),
            'confusion': self.confusion.counts,
        }
        for key, part in self._parts().items():
            arrays |= {f'{key}.{name}': values for name, values in part.to_arrays().items()}
        return arrays

    def add_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Add what `to_arrays` returned."""
        self.images += int(arrays['images'])
        self.seen_groups.update(arrays['seen_groups'].tolist())
        self.confusion.counts += arrays['confusion']
        for key, part in self._parts().items():
            part.add_arrays(below(arrays, key))

    def evaluate(self, draws: int, seed: int) -> PixelEvaluation:
        """Return the scores of what was counted."""
        counts = {name: histogram.counts() for name, histogram in self.histograms.items()}
        both = next(iter(self.histograms.values()))
        scorable = both.positives > 0 and both.negatives > 0
        measured = {name: measure_scores(one) for name, one in counts.items()} if scorable else {}
        intervals = {
            name: one.intervals(draws=draws, seed=seed) if scorable and draws else {}
            for name, one in self.groups.items()
        }
        control = None
        comparable = [
            one.counts() for one in self.controls.values() if one.positives and one.negatives
        ]
        if comparable and 'entropy' in measured:
            control = _compare_controls(comparable, measured['entropy'].threshold95)
        return PixelEvaluation(
            self.images,
            len(set(join_groups(sorted(self.seen_groups)).tolist())),
            measured,
            intervals,
            counts,
            self.confusion,
            control,
            self.wrong.measure(),
        )


def _control_classes() -> list[int]:
    return [CITYSCAPES_NAMES.index(name) for name in ('person', 'car', 'bicycle')]


def _compare_controls(classes: Sequence[ScoreCounts], threshold: float) -> ControlScores:
    pasted = np.array([one.positives.sum() for one in classes], dtype=np.float64)
    unpasted = np.array([one.negatives.sum() for one in classes], dtype=np.float64)
    hits, others = (
        np.array([side(one)[one.thresholds >= threshold].sum() for one in classes])
        for side in (lambda one: one.positives, lambda one: one.negatives)
    )
    return ControlScores(
        float(hits.sum() / pasted.sum()),
        float(np.average(others / unpasted, weights=pasted)),
        int(pasted.sum()),
        int(unpasted.sum()),
    )
