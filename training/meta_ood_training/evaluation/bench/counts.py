"""One pass over the frames: every method's scores are counted, and each is timed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
import math
import time
from typing import Any, TypeVar

import cv2
from meta_ood_ros.core.dense import DensePrediction, predict_dense
from meta_ood_training.datasets import IGNORED, OOD, Sample, SampleDataset
from meta_ood_training.evaluation.bench.fitting import View
from meta_ood_training.evaluation.bench.kept_scores import KeptScores
from meta_ood_training.evaluation.pixel_evaluation import (
    below,
    is_of_part,
    PixelEvaluation,
    Tally,
)
import numpy as np
from numpy.typing import NDArray
import torch

_Made = TypeVar('_Made')

#: Frames before the times of a view count: libraries choose their kernels in the first ones.
WARM_UP = 1


@dataclass(frozen=True, eq=False)
class MethodEvaluation:
    """
    One method on one data set, or on a part of it.

    Attributes
    ----------
    pixels : PixelEvaluation
        Of this method's view, its score under its name.
    seconds : float
        Median over frames of network, classes and score of one frame; NaN before any was warm.
    f1 : float
        Of components, by a second pass; NaN without.

    """

    pixels: PixelEvaluation
    seconds: float
    f1: float = math.nan


class MethodCounts:
    """
    What is counted frame by frame, as ranks exchange it and files keep it.

    Parameters
    ----------
    views : sequence of View
        With at least one scorer each.
    num_classes : int
        C of the bundle; outputs beyond are a method's own.
    names_classes : bool
        Whether the class ids of the targets are the network's.
    misclassification : bool
        Whether scores are judged by the wrong classes that they find, too.
    kept : KeptScores, optional
        Takes the scores that took long.

    """

    def __init__(
        self,
        views: Sequence[View],
        dataset: SampleDataset,
        *,
        parts: Sequence[str],
        num_classes: int,
        names_classes: bool,
        misclassification: bool = False,
        kept: KeptScores | None = None,
    ) -> None:
        self._views, self._num_classes, self._kept = views, num_classes, kept
        self._control = getattr(dataset, 'control', None)
        self._tags = getattr(dataset, 'tags', {})
        same = getattr(dataset, 'equivalent_predictions', {})
        self._parts = ('', *parts)
        self._tallies = [
            {
                part: Tally(
                    tuple(view.scorers), num_classes, names_classes, same, misclassification
                )
                for part in self._parts
            }
            for view in views
        ]
        names = [name for view in views for name in view.scorers]
        self._seconds: dict[str, list[float]] = {name: [] for name in names}
        self._precisions: dict[str, list[tuple[int, float]]] = {name: [] for name in names}
        self._frames = 0
        #: Methods that gave no scores on some frame -> why.
        self.failed: dict[str, str] = {}

    def count(self, index: int, sample: Sample) -> None:
        """Score a frame by every method and count its pixels."""
        pasted = self._control(index) if self._control is not None else None
        self._frames += 1
        for view, tallies in zip(self._views, self._tallies, strict=True):
            dense, maps, seconds = look(view, sample.image, self._num_classes, failed=self.failed)
            for name, values in maps.items():
                precision = frame_precision(values, sample.target)
                if precision is not None:
                    self._precisions[name].append((index, precision))
            if self._kept is not None:
                self._kept.keep(sample.image, maps, seconds)
            if self._frames > WARM_UP:
                for name, one in seconds.items():
                    self._seconds[name].append(one)
            for part, tally in tallies.items():
                if is_of_part(sample.name, self._tags, part):
                    tally.update(sample, dense, maps, pasted)

    def evaluate(self, draws: int, seed: int) -> dict[str, dict[str, MethodEvaluation]]:
        """Return part ('' is the whole set) -> method -> evaluation."""
        found: dict[str, dict[str, MethodEvaluation]] = {}
        for view, tallies in zip(self._views, self._tallies, strict=True):
            for part, tally in tallies.items():
                if part and not tally.images:
                    continue
                evaluation = tally.evaluate(draws, seed)
                for name in [one for one in view.scorers if one not in self.failed]:
                    times = self._seconds[name]
                    median = float(np.median(times)) if times else float('nan')
                    found.setdefault(part, {})[name] = MethodEvaluation(evaluation, median)
        return found

    def order_frames(self, name: str) -> list[tuple[int, float]]:
        """Return the frames with OoD pixels and the AP in each, the best first."""
        return sorted(self._precisions[name], key=lambda one: (-one[1], one[0]))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the counts as arrays by name."""
        arrays: dict[str, NDArray[np.generic]] = {
            f'seconds.{name}': np.array(times) for name, times in self._seconds.items()
        }
        for name, frames in self._precisions.items():
            arrays[f'precision.{name}'] = np.array(frames, dtype=np.float64).reshape(-1, 2)
        for name, reason in self.failed.items():
            arrays[f'failed.{name}'] = np.array(reason)
        for key, tally in self._keyed():
            arrays |= {f'{key}.{name}': values for name, values in tally.to_arrays().items()}
        return arrays

    def add_arrays(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Add what `to_arrays` returned."""
        for name, times in self._seconds.items():
            times += np.asarray(arrays[f'seconds.{name}']).tolist()
            rows = np.asarray(arrays[f'precision.{name}']).tolist()
            self._precisions[name] += [(int(index), precision) for index, precision in rows]
        self.failed |= {name: str(one) for name, one in below(arrays, 'failed').items()}
        for key, tally in self._keyed():
            tally.add_arrays(below(arrays, key))

    def _keyed(self) -> list[tuple[str, Tally]]:
        return [
            (f'{number}.{place}', tallies[part])
            for number, tallies in enumerate(self._tallies)
            for place, part in enumerate(self._parts)
        ]


def look(
    view: View,
    image: NDArray[np.uint8],
    num_classes: int,
    *,
    failed: dict[str, str] | None = None,
) -> tuple[DensePrediction, dict[str, NDArray[np.float32]], dict[str, float]]:
    """
    Return classes and scores of an image at its own size, and seconds by method.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8
        RGB, as the data set gives it.
    failed : dict of str to str, optional
        Methods that are left out; one that gives no scores is added with the reason.

    Returns
    -------
    dense : DensePrediction
        (H, W) maps of the first `num_classes` outputs.
    maps : dict of str to ndarray of shape (H, W), float32
        Scores, scaled bilinearly from the work grid.
    seconds : dict of str to float
        Network, classes and score of this frame.

    """
    observer = view.observer
    on_grid = observer.to_grid(image)
    grid = (on_grid.shape[0], on_grid.shape[1])
    network = observer.network
    (logits, features), base = _timed(
        lambda: observer.run(on_grid, with_features=view.needs_features), observer.device
    )
    dense, classes = _timed(
        lambda: predict_dense(logits[:num_classes], grid, align_corners=network.align_corners),
        observer.device,
    )
    size = (image.shape[1], image.shape[0])
    maps, seconds = {}, {}
    failed = {} if failed is None else failed
    for name in [one for one in view.scorers if one not in failed]:
        score = partial(view.scorers[name].score, on_grid, logits, features)
        try:
            values, own = _timed(score, observer.device)
        except ValueError as error:
            failed[name] = str(error)
            continue
        maps[name] = _scaled(values, size, cv2.INTER_LINEAR)
        shared = getattr(view.scorers[name], 'shared_s', 0.0)  # as if it ran alone
        seconds[name] = base + classes + own + shared
    scaled = DensePrediction(
        _scaled(dense.semantic, size, cv2.INTER_NEAREST_EXACT),
        _scaled(dense.entropy, size, cv2.INTER_LINEAR),
        _scaled(dense.max_probability, size, cv2.INTER_LINEAR),
    )
    return scaled, maps, seconds


def frame_precision(scores: NDArray[np.float32], target: NDArray[np.uint8]) -> float | None:
    """Return the AP on every fourth row and column of a frame; None without OoD or known pixel."""
    values, labels = scores[::4, ::4].ravel(), target[::4, ::4].ravel()
    counted = labels != IGNORED
    values, is_ood = values[counted], labels[counted] == OOD
    if not is_ood.any() or is_ood.all():
        return None
    hits = is_ood[np.argsort(-values, kind='stable')]
    places = np.flatnonzero(hits)
    return float(((np.arange(len(places)) + 1) / (places + 1)).mean())


def _scaled(values: NDArray[Any], size: tuple[int, int], method: int) -> NDArray[Any]:
    if values.shape == size[::-1]:
        return values
    return np.asarray(cv2.resize(values, size, interpolation=method))


def _timed(compute: Callable[[], _Made], device: torch.device) -> tuple[_Made, float]:
    start = time.perf_counter()
    made = compute()
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return made, time.perf_counter() - start
