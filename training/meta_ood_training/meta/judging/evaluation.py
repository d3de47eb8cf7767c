"""Segments of one entropy threshold -> every number of tables 2 and 3 for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from meta_ood_training.meta.fitting.calibration import measure_reliability
from meta_ood_training.meta.fitting.fit import fit_meta_classifier, MetaFit, MetaFitSettings
from meta_ood_training.meta.fitting.left_out_segments import (
    LEFT_OUT_KINDS,
    predict_left_out_segments,
)
from meta_ood_training.meta.judging.decisions import (
    choose_decision,
    CoreDecision,
    decide,
    describe_errors,
    describe_published,
)
from meta_ood_training.meta.judging.segment_errors import rank_segments
from meta_ood_training.segments.segment_set import SegmentSet
import numpy as np
from scipy.special import expit

#: Edges of the segment sizes in work pixels; Runtas & Petkovic see the network's gain below 10.
SIZE_EDGES = (1, 10, 100, 1_000, 10_000)
#: The papers' decision: the more probable of the two.
PUBLISHED_META_THRESHOLD = 0.5


@dataclass(frozen=True, eq=False)
class ThresholdEvaluation:
    """
    What was fitted and measured at one entropy threshold.

    Parameters
    ----------
    accepted : dict of str to ndarray of shape (K,), bool
        By kind: accepted at the operating point chosen on the logits of the OTHER folds.
    fits : dict of str to MetaFit
        By kind; where cores are published, with the operating point of the best core threshold,
        which stands in the scores of the kind as 'core_threshold' (0: as judged).

    """

    segments: SegmentSet
    fits: dict[str, MetaFit]
    accepted: dict[str, np.ndarray]
    scores: dict[str, Any]
    problem: str = ''
    left_out: dict[str, np.ndarray] = field(default_factory=dict)


def evaluate_threshold(
    segments: SegmentSet,
    kinds: tuple[str, ...],
    settings: MetaFitSettings,
    *,
    neural_left_out: bool = False,
    also_as_judged: bool = False,
    choose: str = 'errors',
    on_step: Callable[[str, int, int], None] | None = None,
) -> ThresholdEvaluation:
    """
    Fit and judge meta classifiers on the segments of one entropy threshold.

    Parameters
    ----------
    neural_left_out : bool
        Leave-one-segment-out for the neural network, too: 64 trainings at once take about
        20 s for 1,000 segments, so 2,000 segments take 10 minutes.
    also_as_judged : bool
        Whether publishing segments as they were judged is compared with the core thresholds in
        `segments.published`; where there are none it is all there is.
    choose : str
        By which of MERITS the core threshold is chosen.

    Returns
    -------
    ThresholdEvaluation
        With one class of segments only, or none, there are no fits: errors without a meta
        classifier are still counted and `problem` says why.

    """
    everything = np.ones(len(segments), dtype=bool)
    scores: dict[str, Any] = {
        'entropy_threshold': segments.entropy_threshold,
        'segments': len(segments),
        'true_segments': int(segments.is_true_ood.sum()),
        'segments_left_out_as_void': segments.left_out,
        'images': len(segments.frame_name),
        'images_available': segments.frames_available,
        'objects': len(segments.object_frame),
        'without_meta': describe_errors(segments, everything),
        'max_softmax': asdict(rank_segments(-segments.max_softmax, segments.is_true_ood)),
    }
    fits: dict[str, MetaFit] = {}
    accepted: dict[str, np.ndarray] = {}
    left: dict[str, np.ndarray] = {}
    for kind in kinds:

        def report(done: int, total: int, kind: str = kind) -> None:
            if on_step is not None:
                on_step(kind, done, total)

        try:
            fit = fit_meta_classifier(segments, kind, settings, on_step=report)
        except ValueError as error:
            return ThresholdEvaluation(segments, {}, {}, scores, str(error))
        ways = (None,) if also_as_judged or not segments.published else ()
        decisions = [decide(segments, fit, settings, one) for one in (*ways, *segments.published)]
        best = choose_decision(decisions, choose)
        fits[kind] = best.fit
        accepted[kind] = best.accepted
        scores[kind] = _describe_fit(segments, best)
        if also_as_judged or segments.published:
            scores[kind]['published'] = [describe_published(segments, one) for one in decisions]
        scores[kind]['left_out'] = None
        if kind == 'logistic_regression' or (neural_left_out and kind in LEFT_OUT_KINDS):
            predictions = predict_left_out_segments(segments, kind, settings, on_step=report)
            left[kind] = predictions.probability
            scores[kind]['left_out'] = _describe_left_out(
                segments, predictions.rows, predictions.probability, predictions.logit_error
            )
    return ThresholdEvaluation(segments, fits, accepted, scores, '', left)


def _describe_fit(segments: SegmentSet, decision: CoreDecision) -> dict[str, Any]:
    fit, accepted = decision.fit, decision.accepted
    raw = expit(fit.grouped.logit)
    published = raw >= PUBLISHED_META_THRESHOLD
    return {
        'ranking': asdict(rank_segments(fit.grouped.logit, segments.is_true_ood)),
        'at_operating_point': describe_errors(segments, accepted),
        'at_published_threshold': describe_errors(segments, published),
        'published': [],
        'core_threshold': decision.core_threshold,
        'meta_threshold': fit.meta_threshold,
        'operating_point': asdict(fit.operating_point),
        'logits_of_folds': [one.logit for one in decision.points],
        'groups': len(np.unique(fit.group)),
        'folds': len(np.unique(fit.grouped.fold)),
        'calibration': list(fit.classifier.calibration),
        'ece_before': measure_reliability(raw, segments.is_true_ood).ece,
        'ece_after': measure_reliability(fit.probability, segments.is_true_ood).ece,
        'constant_metrics': list(fit.constant_metrics),
        'by_size': describe_sizes(segments, fit.grouped.logit, accepted),
    }


def _describe_left_out(
    segments: SegmentSet, rows: np.ndarray, probability: np.ndarray, logit_error: float
) -> dict[str, Any]:
    described: dict[str, Any] = {
        'segments_predicted': len(rows),
        'logit_error': logit_error,
        'ranking': asdict(rank_segments(probability, segments.is_true_ood[rows])),
        'at_published_threshold': None,
    }
    if len(rows) == len(segments):
        described['at_published_threshold'] = describe_errors(
            segments, probability >= PUBLISHED_META_THRESHOLD
        )
    return described


def describe_sizes(
    segments: SegmentSet, logit: np.ndarray, accepted: np.ndarray
) -> list[dict[str, Any]]:
    """Return ranking and decisions for segments of different size."""
    table = []
    edges = (*SIZE_EDGES, np.inf)
    for low, high in pairwise(edges):
        rows = (segments.size_px >= low) & (segments.size_px < high)
        true = rows & segments.is_true_ood
        false = rows & ~segments.is_true_ood
        table.append(
            {
                'from_px': int(low),
                'to_px': None if np.isinf(high) else int(high) - 1,
                'segments': int(rows.sum()),
                **asdict(rank_segments(logit[rows], segments.is_true_ood[rows])),
                'true_accepted': int((true & accepted).sum()),
                'true': int(true.sum()),
                'false_accepted': int((false & accepted).sum()),
                'false': int(false.sum()),
            }
        )
    return table
