"""
Errors of each group -> 95 % intervals of their sums: neighbouring images are drawn together.

Not `scipy.stats.bootstrap`: scipy 1.17 refuses statistics that are integers, one group is an error
to it and one draw without an error makes the interval of a reduction NaN, and its other draws
would move published bounds (249 to 315 became 251 to 316 with 60 groups of simulated counts).
"""

from __future__ import annotations

from dataclasses import dataclass

from meta_ood_training.meta.judging.segment_errors import found_objects, measure_siou
from meta_ood_training.scores.components import FOUND_SIOU
from meta_ood_training.scores.groups import join_groups
from meta_ood_training.segments.segment_set import SegmentSet
import numpy as np

_QUANTILES = (0.025, 0.975)


@dataclass(frozen=True, eq=False)
class GroupErrors:
    """
    False positives and missed objects of each group of images.

    Parameters
    ----------
    false_positives, missed_objects, objects : ndarray of shape (G,), int64

    """

    groups: tuple[str, ...]
    false_positives: np.ndarray
    missed_objects: np.ndarray
    objects: np.ndarray


def count_group_errors(segments: SegmentSet, accepted: np.ndarray) -> GroupErrors:
    """
    Return the errors of each honest group.

    Parameters
    ----------
    accepted : ndarray of shape (K,), bool
        What counts as OoD.

    """
    names, group = _number_groups(segments)

    def count(frames: np.ndarray) -> np.ndarray:
        return np.bincount(group[frames], minlength=len(names))

    missed = ~found_objects(segments, accepted)
    return GroupErrors(
        groups=names,
        false_positives=count(segments.segment_frame[accepted & ~segments.is_true_ood]),
        missed_objects=count(segments.object_frame[missed]),
        objects=count(segments.object_frame),
    )


def _number_groups(segments: SegmentSet) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of the honest groups, sorted, and the number of each image's, (F,)."""
    number = join_groups(list(segments.frame_group))
    first = {int(one): index for index, one in reversed(list(enumerate(number)))}
    names = [str(segments.frame_group[first[one]]) for one in sorted(first)]
    order = np.argsort(names, kind='stable')
    return tuple(names[one] for one in order), np.argsort(order)[number]


@dataclass(frozen=True)
class ErrorInterval:
    """A count with its 95 % percentile interval over groups; NaN for fewer than two groups."""

    value: float
    low: float
    high: float


def bootstrap_errors(
    errors: GroupErrors, *, draws: int = 2000, seed: int = 0
) -> dict[str, ErrorInterval]:
    """Return intervals of FP, FN and FP + FN."""
    weights = draw_groups(len(errors.groups), draws, seed)
    return {
        name: to_interval(float(counts.sum()), weights @ counts, len(errors.groups))
        for name, counts in _counts(errors).items()
    }


def bootstrap_rates(
    segments: SegmentSet, accepted: np.ndarray, *, draws: int = 2000, seed: int = 0
) -> dict[str, ErrorInterval]:
    """Return false segments an image, objects with sIoU >= .25 and F1 with their intervals."""
    names, group = _number_groups(segments)

    def count(frames: np.ndarray) -> np.ndarray:
        return np.bincount(group[frames], minlength=len(names))

    far = measure_siou(segments, accepted) < FOUND_SIOU
    counts = {
        'images': np.bincount(group, minlength=len(names)),
        'objects': count(segments.object_frame),
        'false': count(segments.segment_frame[accepted & ~segments.is_true_ood]),
        'missed': count(segments.object_frame[~found_objects(segments, accepted)]),
        'far': count(segments.object_frame[far]),
    }
    weights = draw_groups(len(names), draws, seed)
    value = _rates({name: np.atleast_1d(one.sum()) for name, one in counts.items()})
    sampled = _rates({name: weights @ one for name, one in counts.items()})
    return {
        name: to_interval(float(value[name][0]), one[np.isfinite(one)], len(names))
        for name, one in sampled.items()
    }


def _rates(counts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    hit = counts['objects'] - counts['missed']
    with np.errstate(divide='ignore', invalid='ignore'):
        return {
            'false_segments_per_image': counts['false'] / counts['images'],
            'objects_with_siou_25': 1.0 - counts['far'] / counts['objects'],
            'f1': 2 * hit / (2 * hit + counts['false'] + counts['missed']),
        }


def bootstrap_reductions(
    before: GroupErrors, after: GroupErrors, *, draws: int = 2000, seed: int = 0
) -> dict[str, ErrorInterval]:
    """
    Return by which share FP, FN and FP + FN went down, on the same images.

    Returns
    -------
    dict of str to ErrorInterval
        1 - after / before: 0.52 means 52 % fewer; NaN where there was none before.

    Raises
    ------
    ValueError
        The groups differ.

    """
    if before.groups != after.groups:
        raise ValueError(
            f'errors compared must be of the same groups of images, got {len(before.groups)} and '
            f'{len(after.groups)} that differ. Extract both networks from the same data.'
        )
    weights = draw_groups(len(before.groups), draws, seed)
    result = {}
    for name, old in _counts(before).items():
        new = _counts(after)[name]
        with np.errstate(divide='ignore', invalid='ignore'):
            value = 1.0 - np.float64(new.sum()) / np.float64(old.sum())
            sampled = 1.0 - (weights @ new) / (weights @ old)
        finite = sampled[np.isfinite(sampled)]
        result[name] = to_interval(float(value), finite, len(before.groups))
    return result


def _counts(errors: GroupErrors) -> dict[str, np.ndarray]:
    return {
        'false_positives': errors.false_positives,
        'missed_objects': errors.missed_objects,
        'errors': errors.false_positives + errors.missed_objects,
    }


def draw_groups(groups: int, draws: int, seed: int) -> np.ndarray:
    """Return how often each group is drawn, (draws, groups)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(groups, np.full(groups, 1.0 / max(groups, 1)), size=draws)


def to_interval(value: float, samples: np.ndarray, groups: int) -> ErrorInterval:
    """Return a value with the quantiles of what the draws gave."""
    if groups < 2 or not len(samples):  # one group drawn again and again never varies
        return ErrorInterval(value, float('nan'), float('nan'))
    low, high = np.quantile(samples, _QUANTILES)
    return ErrorInterval(value, float(low), float(high))
