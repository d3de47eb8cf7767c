"""A fit -> what it accepts and publishes, cut at each core threshold, and the errors of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from meta_ood_training.meta.fitting.calibration import choose_operating_point, OperatingPoint
from meta_ood_training.meta.fitting.fit import MetaFit, MetaFitSettings
from meta_ood_training.meta.judging.group_intervals import (
    bootstrap_errors,
    bootstrap_rates,
    count_group_errors,
)
from meta_ood_training.meta.judging.segment_errors import (
    count_errors,
    measure_siou,
    score_components,
)
from meta_ood_training.scores.components import FOUND_SIOU
from meta_ood_training.segments.segment_set import PublishedSegments, SegmentSet
import numpy as np

#: What `--choose` maximizes, from the errors of `describe_errors`.
MERITS: dict[str, Callable[[Mapping[str, Any]], float]] = {
    'errors': lambda scores: -scores['errors'],
    'f1': lambda scores: scores['f1'],
    'siou': lambda scores: scores['objects_with_siou_25'],
}


@dataclass(frozen=True, eq=False)
class CoreDecision:
    """
    Where segments are accepted when they are published cut at one core threshold.

    Parameters
    ----------
    published : PublishedSegments or None
        None where they are published as they were judged.
    fit : MetaFit
        With the operating point that counts what is published.
    accepted : ndarray of shape (K,), bool
        Judged segments, out of fold.
    points : list of OperatingPoint
        Of each fold.
    errors : dict
        `describe_errors` of what is published.

    """

    published: PublishedSegments | None
    fit: MetaFit
    accepted: np.ndarray
    points: list[OperatingPoint]
    errors: dict[str, Any]

    @property
    def core_threshold(self) -> float:
        """Return where segments are cut, 0 nowhere."""
        return 0.0 if self.published is None else self.published.core_threshold


def describe_errors(segments: SegmentSet, accepted: np.ndarray) -> dict[str, Any]:
    """Return errors, their intervals over groups, and component scores as plain numbers."""
    errors = count_errors(segments, accepted)
    return {
        **asdict(errors),
        'errors': errors.errors,
        'intervals': {
            name: asdict(interval)
            for name, interval in bootstrap_errors(count_group_errors(segments, accepted)).items()
        },
        'components': asdict(score_components(segments, accepted)),
        'objects_with_siou_25': float(np.mean(measure_siou(segments, accepted) >= FOUND_SIOU))
        if len(segments.object_frame)
        else float('nan'),
        'false_segments_per_image': errors.false_positives / max(len(segments.frame_name), 1),
    }


def accept_across_folds(
    segments: SegmentSet,
    fit: MetaFit,
    settings: MetaFitSettings,
    published: PublishedSegments | None = None,
) -> tuple[np.ndarray, list[OperatingPoint]]:
    """
    Accept each fold's segments at the operating point of the other folds.

    Parameters
    ----------
    published : PublishedSegments, optional
        What the operating points count; by default the segments as judged.

    Returns
    -------
    (ndarray of shape (K,), bool; list of OperatingPoint)
        So no threshold is chosen on the logits that it is applied to. It is not blind to the
        segments themselves: the classifiers behind the other folds' logits were fitted on them.

    """
    frame_fold = np.full(len(segments.frame_name), -1, dtype=np.int64)
    frame_fold[segments.segment_frame] = fit.grouped.fold
    accepted = np.zeros(len(segments), dtype=bool)
    points = []
    for fold in np.unique(fit.grouped.fold):
        point = choose_operating_point(
            segments,
            fit.grouped.logit,
            rule=settings.rule,
            bound=settings.bound,
            frames=frame_fold != fold,
            published=published,
        )
        rows = fit.grouped.fold == fold
        accepted[rows] = fit.grouped.logit[rows] >= point.logit
        points.append(point)
    return accepted, points


def decide(
    segments: SegmentSet,
    fit: MetaFit,
    settings: MetaFitSettings,
    published: PublishedSegments | None = None,
) -> CoreDecision:
    """Return what a fit accepts where so much is published; by default segments as judged."""
    accepted, points = accept_across_folds(segments, fit, settings, published)
    if published is not None:
        point = choose_operating_point(
            segments,
            fit.grouped.logit,
            rule=settings.rule,
            bound=settings.bound,
            published=published,
        )
        fit = replace(fit, operating_point=point)
    errors = describe_errors(*_counted(segments, accepted, published))
    return CoreDecision(published, fit, accepted, points, errors)


def _counted(
    segments: SegmentSet, accepted: np.ndarray, published: PublishedSegments | None
) -> tuple[SegmentSet, np.ndarray]:
    """Return what errors count, and which of it is accepted, of accepted judged segments."""
    if published is None:
        return segments, accepted
    return published.segments, accepted[published.parent]


def choose_decision(decisions: Sequence[CoreDecision], criterion: str) -> CoreDecision:
    """Return the one that serves best, see MERITS; ties go to the lower core threshold."""
    return max(
        decisions,
        key=lambda one: (_known(MERITS[criterion](one.errors)), -one.core_threshold),
    )


def describe_published(segments: SegmentSet, decision: CoreDecision) -> dict[str, Any]:
    """Return the errors as published, with the operating point and intervals of the rates."""
    rates = bootstrap_rates(*_counted(segments, decision.accepted, decision.published))
    return {
        'core_threshold': decision.core_threshold,
        'meta_threshold': decision.fit.meta_threshold,
        'logits_of_folds': [one.logit for one in decision.points],
        **decision.errors,
        'rates': {name: asdict(interval) for name, interval in rates.items()},
    }


def published_errors(scores: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the errors that decide, of the scores of a kind: as published, else as judged."""
    for one in scores.get('published', ()):
        if one['core_threshold'] == scores['core_threshold']:
            return dict(one)
    return dict(scores['at_operating_point'])


def _known(merit: float) -> float:
    """Return a merit that compares: what cannot be known, as without objects, is the least."""
    return -np.inf if np.isnan(merit) else merit
