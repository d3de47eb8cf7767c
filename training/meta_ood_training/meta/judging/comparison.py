"""Before against after OoD training and meta classification, thresholds chosen off the test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from meta_ood_training.datasets.image_names import begins_so
from meta_ood_training.meta.judging.decisions import (
    describe_errors,
    MERITS,
    published_errors,
)
from meta_ood_training.meta.judging.evaluation import ThresholdEvaluation
from meta_ood_training.meta.judging.group_intervals import bootstrap_reductions, count_group_errors
from meta_ood_training.segments.segment_set import SegmentSet
import numpy as np


@dataclass(frozen=True, eq=False)
class Stage:
    """
    One way of detecting, with every choice made on the segments to fit on.

    Parameters
    ----------
    accepted : ndarray of shape (K,), bool

    """

    title: str
    entropy_threshold: float
    meta_threshold: float | None
    segments: SegmentSet
    accepted: np.ndarray

    def of_part(self, word: str) -> Stage:
        """Return the stage on the test images whose name begins so."""
        names = self.segments.frame_name
        keep = np.array([begins_so(name, word) for name in names], bool)
        if not keep.any():
            raise ValueError(
                f'--test-part must be how names of test images begin, got {word!r}; they are '
                f'{names[0]!r} and others. Give the first letters of some.'
            )
        return replace(
            self,
            segments=self.segments.of_frames(keep),
            accepted=self.accepted[keep[self.segments.segment_frame]],
        )


def find_error_minimising_threshold(evaluations: Sequence[ThresholdEvaluation]) -> float:
    """Return the entropy threshold of the fewest errors FP + FN without meta classifier."""
    best = min(evaluations, key=lambda one: one.scores['without_meta']['errors'])
    return best.segments.entropy_threshold


def choose_entropy_threshold(
    evaluations: Sequence[ThresholdEvaluation], kind: str, criterion: str
) -> ThresholdEvaluation:
    """
    Return the evaluation whose entropy threshold serves best with its meta classifier.

    Parameters
    ----------
    criterion : str
        'errors': fewest FP + FN. 'f1': largest F1. 'siou': most objects with sIoU >= .25 at the
        operating point (sensible with the rule 'max_false'). All out of fold and, where cores
        are, of what is published; ties go to the higher threshold, which costs less.

    Raises
    ------
    ValueError
        No classifier could be fitted at any threshold, or an unknown criterion.

    """
    if criterion not in MERITS:
        raise ValueError(
            f'criterion must be one of {", ".join(MERITS)}, got {criterion!r}. '
            'See fit-meta --help.'
        )
    fitted = [one for one in evaluations if kind in one.fits]
    if not fitted:
        raise ValueError(evaluations[0].problem or f'no {kind} was fitted. Name it as classifier.')
    return max(
        fitted,
        key=lambda one: (
            MERITS[criterion](published_errors(one.scores[kind])),
            one.segments.entropy_threshold,
        ),
    )


def with_common_objects(stages: Sequence[Stage]) -> list[Stage]:
    """
    Return the stages without objects of which in one of them nobody knows whether they were found.

    Parameters
    ----------
    stages : sequence of Stage
        On the same test images. Each has left out the objects that only its own unknown segments
        touch, and these differ from stage to stage.

    Raises
    ------
    ValueError
        The stages are not of the same images and objects.

    """
    keys = [_object_keys(one.segments) for one in stages]
    first = stages[0].segments
    for one in stages[1:]:
        names = sorted(first.frame_name), sorted(one.segments.frame_name)
        totals = [len(held.object_frame) + held.objects_left_out for held in (first, one.segments)]
        if names[0] != names[1] or totals[0] != totals[1]:
            raise ValueError(
                f'stages compared must be of the same images and objects, got {len(names[0])} '
                f'images with {totals[0]} objects ({stages[0].title}) and {len(names[1])} with '
                f'{totals[1]} ({one.title}). Extract both networks from the same data.'
            )
    common = set.intersection(*map(set, keys))
    return [
        replace(
            one,
            segments=one.segments.without_unknown_objects(
                np.array([key not in common for key in held], dtype=bool)
            ),
        )
        for one, held in zip(stages, keys, strict=True)
    ]


def _object_keys(segments: SegmentSet) -> list[tuple[str, int, int]]:
    """Return name of the image, which of that name it is, and number in it, for each object."""
    seen: Counter[str] = Counter()
    images = []
    for name in segments.frame_name:
        images.append((str(name), seen[str(name)]))
        seen[str(name)] += 1
    return [
        (*images[frame], int(number))
        for frame, number in zip(segments.object_frame, segments.object_number, strict=True)
    ]


def compare_stages(stages: Sequence[Stage], *, seed: int = 0) -> dict[str, Any]:
    """
    Return errors of each stage, and how far the last stays below each of the others.

    Returns
    -------
    dict
        Plain numbers: 'stages' and 'reductions' with 95 % intervals over groups; all of the
        objects that `with_common_objects` keeps.

    """
    stages = with_common_objects(stages)
    counted = [count_group_errors(one.segments, one.accepted) for one in stages]
    return {
        'stages': [
            {
                'title': one.title,
                'entropy_threshold': one.entropy_threshold,
                'meta_threshold': one.meta_threshold,
                'objects_left_out': one.segments.objects_left_out,
                'segments_left_out': one.segments.left_out,
                **describe_errors(one.segments, one.accepted),
            }
            for one in stages
        ],
        'reductions': [
            {
                'from': before.title,
                'to': stages[-1].title,
                **{
                    name: asdict(value)
                    for name, value in bootstrap_reductions(old, counted[-1], seed=seed).items()
                },
            }
            for before, old in zip(stages[:-1], counted[:-1], strict=True)
        ],
    }
