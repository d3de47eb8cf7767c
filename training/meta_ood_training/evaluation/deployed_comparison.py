"""What two bundles publish about the same images -> their difference, drawn in pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meta_ood_training.evaluation.deployed import PublishedDecisions, SMALLEST_PX
from meta_ood_training.meta.judging.group_intervals import (
    draw_groups,
    ErrorInterval,
    to_interval,
)
from meta_ood_training.meta.judging.segment_errors import measure_siou
from meta_ood_training.scores.components import FOUND_SIOU
from meta_ood_training.scores.groups import join_groups
import numpy as np


@dataclass(frozen=True)
class DeployedDifference:
    """
    One decision of a bundle minus the one that it is compared with, on the same images.

    Parameters
    ----------
    first, second : str
        Bundle and decision: of what is taken away, and of what it is taken from.
    images : int
        That both have judged.
    found, touched, false_a_frame : ErrorInterval
        Second minus first, with 95 % intervals of the difference: groups of images are drawn for
        both alike. Without 0 inside, the difference is more than chance.

    """

    data: str
    first: str
    second: str
    images: int
    found: ErrorInterval
    touched: ErrorInterval
    false_a_frame: ErrorInterval


def compare_decisions(
    first: PublishedDecisions,
    second: PublishedDecisions,
    *,
    titles: tuple[str, str, str],
    draws: int = 1000,
    seed: int = 0,
) -> DeployedDifference:
    """
    Return how much more the second decision finds than the first, and how much more is false.

    Parameters
    ----------
    titles : (str, str, str)
        Of the data, the first and the second.

    Raises
    ------
    ValueError
        They have no image in common.

    """
    names = [one.segments.frame_name.tolist() for one in (first, second)]
    common = set(names[0]) & set(names[1])
    if not common:
        raise ValueError(
            f'decisions compared must be of the same images, got none in common of {titles[1]} '
            f'and {titles[2]}. Judge both on the same data.'
        )
    sides = []
    for one, its_names in zip((first, second), names, strict=True):
        sides.append(_Side(one.of_frames(np.array([name in common for name in its_names]))))
    groups = sides[0].groups
    weights = draw_groups(groups, draws, seed)

    def difference(rate: Callable[[_Side, np.ndarray], np.ndarray]) -> ErrorInterval:
        once = np.ones((1, groups))
        values, samples = (
            rate(sides[1], drawn) - rate(sides[0], drawn) for drawn in (once, weights)
        )
        return to_interval(float(values[0]), samples[np.isfinite(samples)], groups)

    return DeployedDifference(
        *titles,
        images=len(common),
        found=difference(lambda side, drawn: _divide(drawn @ side.found, drawn @ side.objects)),
        touched=difference(
            lambda side, drawn: _divide(drawn @ side.touched, drawn @ side.objects)
        ),
        false_a_frame=difference(
            lambda side, drawn: _divide(drawn @ side.false, drawn @ side.frames)
        ),
    )


class _Side:
    """Counts of each group of images; the groups of both sides are those of the same images."""

    def __init__(self, decisions: PublishedDecisions) -> None:
        segments, accepted = decisions.segments, decisions.accepted
        order = np.argsort(segments.frame_name.astype(str), kind='stable')
        number = join_groups(segments.frame_group[order].tolist())
        group = np.empty(len(order), np.int64)
        group[order] = np.unique(number, return_inverse=True)[1]
        self.groups = int(group.max(initial=-1)) + 1
        siou = measure_siou(segments, accepted)
        large = segments.object_size_px >= SMALLEST_PX

        def count(frames: np.ndarray) -> np.ndarray:
            return np.bincount(group[frames], minlength=self.groups)

        self.frames = count(np.arange(len(group)))
        self.objects = count(segments.object_frame[large])
        self.found = count(segments.object_frame[large & (siou >= FOUND_SIOU)])
        self.touched = count(segments.object_frame[large & (siou > 0)])
        self.false = count(segments.segment_frame[accepted & ~segments.is_true_ood])


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(divide='ignore', invalid='ignore'):
        return part / whole
