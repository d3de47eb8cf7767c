"""A judged meta classifier -> the explanation section of the report, and all its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from meta_ood_training.datasets.image_names import is_named
from meta_ood_training.meta.fitting.fit import MetaFit, MetaFitSettings, segment_groups
from meta_ood_training.meta.judging.evaluation import ThresholdEvaluation
from meta_ood_training.meta.judging.explain import (
    bootstrap_coefficients,
    explain_segments,
    find_lars_path,
    score_metric_subsets,
)
from meta_ood_training.meta.reporting.figures import (
    draw_coefficients,
    draw_curves,
    draw_errors,
    draw_lars,
    draw_metric_subsets,
    draw_reliability,
    draw_sizes,
)
from meta_ood_training.meta.reporting.metric_names import name_metrics
from meta_ood_training.segments.segment_set import SegmentSet
import numpy as np

_SHOWN_CONTRIBUTIONS = 6
# a 2.5 % quantile needs them; 200,000 segments take 5 minutes
_DRAWS = 200


def explain_evaluation(
    evaluation: ThresholdEvaluation,
    kind: str,
    settings: MetaFitSettings,
    *,
    metric_counts: Sequence[int],
    images: Sequence[str],
    test: SegmentSet | None = None,
    class_names: Sequence[str] = (),
    folder: Path,
    figures: dict[str, str],
) -> dict[str, Any]:
    """
    Return what decides: LARS path, coefficients, Algorithm 1, and single segments.

    Parameters
    ----------
    images : sequence of str
        Names of images fitted on or of the test; the part behind the data set's name is enough.
        All their segments are explained; an image that is not among them, because of --split or
        --max-segments, or that has none gets a note. Without, the largest true segment that was
        rejected and the most certain false one that was accepted are explained.
    class_names : sequence of str
        Of the network, for the names of metrics about one class.

    """
    folder.mkdir(parents=True, exist_ok=True)
    segments, fit = evaluation.segments, evaluation.fits[kind]
    names = name_metrics(segments.metric_names, class_names)
    lars = find_lars_path(segments.metrics, segments.is_true_ood)
    intervals = bootstrap_coefficients(
        segments.metrics,
        segments.is_true_ood,
        # neighbouring images repeat, whatever the folds keep together
        segment_groups(segments, 'group'),
        strength=settings.strength,
        seed=settings.seed,
        draws=_DRAWS,
    )
    draw_lars(folder / 'lars_path.png', lars, names)
    draw_coefficients(folder / 'coefficients.png', intervals, names)
    figures.update(lars='lars_path.png', coefficients='coefficients.png')
    largest = np.argsort(-np.abs(intervals.coefficient))
    decisions, notes = _explain_chosen(evaluation, kind, images, test)
    for one in decisions:
        metrics, values = zip(*one['contributions'], strict=True)
        one['contributions'] = list(zip(name_metrics(metrics, class_names), values, strict=True))
    explained: dict[str, Any] = {
        'entropy_threshold': segments.entropy_threshold,
        'kind': kind,
        'lars_order': [names[one] for one in lars.order],
        'coefficients': [
            {
                'metric': names[one],
                'coefficient': float(intervals.coefficient[one]),
                'lower': float(intervals.lower[one]),
                'upper': float(intervals.upper[one]),
            }
            for one in largest
        ],
        'bootstrap_draws': intervals.draws,
        'segments': decisions,
        'notes': notes,
    }
    counts = sorted({min(one, len(lars.order)) for one in metric_counts if one >= 1})
    if counts:
        subsets = score_metric_subsets(
            segments.metrics,
            segments.is_true_ood,
            fit.grouped.fold,
            lars.order,
            counts,
            gap=fit.grouped.gap,
            strength=settings.strength,
            neural=replace(settings.neural),
            leaky_scaler=settings.leaky_scaler,
        )
        draw_metric_subsets(folder / 'metric_subsets.png', subsets)
        figures['metric_subsets'] = 'metric_subsets.png'
        explained['metric_subsets'] = [
            {
                'count': count,
                'logistic_regression': [linear.auroc, linear.auprc_false],
                'neural_network': [network.auroc, network.auprc_false],
            }
            for count, linear, network in zip(
                subsets.counts, subsets.logistic_regression, subsets.neural_network, strict=True
            )
        ]
    return explained


def _explain_chosen(
    evaluation: ThresholdEvaluation,
    kind: str,
    images: Sequence[str],
    test: SegmentSet | None,
) -> tuple[list[dict[str, Any]], list[str]]:
    segments, fit, accepted = (
        evaluation.segments,
        evaluation.fits[kind],
        evaluation.accepted[kind],
    )
    if images:
        held = [segments] if test is None else [segments, test]
        decisions, notes = [], []
        for image in images:
            found = [
                decision
                for one in held
                for decision in describe_decisions(one, fit, _rows_of_image(one, image))
            ]
            decisions += found
            if not found:
                notes.append(
                    f'{image} (--explain) has no segment at entropy threshold '
                    f'{segments.entropy_threshold:g} among the images used; --split and '
                    '--max-segments leave images out.'
                )
        return decisions, notes
    rejected_true = np.flatnonzero(segments.is_true_ood & ~accepted)
    accepted_false = np.flatnonzero(~segments.is_true_ood & accepted)
    rows = np.concatenate(
        [
            rejected_true[np.argsort(-segments.size_px[rejected_true])[:1]],
            accepted_false[np.argsort(-fit.probability[accepted_false])[:1]],
        ]
    )
    return describe_decisions(segments, fit, rows), []


def describe_decisions(
    segments: SegmentSet, fit: MetaFit, rows: np.ndarray
) -> list[dict[str, Any]]:
    """Return why the served classifier accepts or rejects each of some segments, (n,) rows."""
    contributions = explain_segments(fit.classifier, segments.metrics[rows], fit.average)
    probability = fit.classifier.predict(segments.metrics[rows])
    described = []
    for place, row in enumerate(rows):
        values = contributions.values[place]
        order = np.argsort(-np.abs(values))
        frame = segments.segment_frame[row]
        threshold = fit.meta_threshold
        described.append(
            {
                'image': str(segments.frame_name[frame]),
                'segment': int(segments.segment_number[row]),
                'size_px': int(segments.size_px[row]),
                'is_true_ood': bool(segments.is_true_ood[row]),
                'accepted': bool(probability[place] >= np.float32(threshold)),
                'ood_probability': float(probability[place]),
                'meta_threshold': threshold,
                'base': contributions.base,
                'contributions': [
                    (segments.metric_names[one], float(values[one]))
                    for one in order[:_SHOWN_CONTRIBUTIONS]
                ],
                'others': float(values[order[_SHOWN_CONTRIBUTIONS:]].sum()),
                'logit': float(contributions.logit[place]),
            }
        )
    return described


def _rows_of_image(segments: SegmentSet, image: str) -> np.ndarray:
    named = np.array([is_named(str(name), image) for name in segments.frame_name], dtype=bool)
    return np.flatnonzero(named[segments.segment_frame])


def draw_everything(
    folder: Path,
    evaluations: Sequence[ThresholdEvaluation],
    baseline: Sequence[ThresholdEvaluation],
    chosen: ThresholdEvaluation | None,
    figures: dict[str, str],
) -> None:
    """Draw the figures about errors and, where a classifier was fitted, about its ranking."""
    folder.mkdir(parents=True, exist_ok=True)
    curves = {}
    sides = [('before', baseline), ('after', evaluations)] if baseline else [('', evaluations)]
    for side, several in sides:
        for title, key in (
            ('no meta classifier', None),
            ('logistic regression', 'logistic_regression'),
            ('neural network', 'neural_network'),
            ('gradient boosting', 'gradient_boosting'),
        ):
            points = [_error_point(one, key) for one in several if key in (None, *one.fits)]
            if points:
                curves[f'{side} {title}'.strip()] = points
    draw_errors(folder / 'errors.png', curves)
    figures['errors'] = 'errors.png'
    if chosen is None:
        return
    truth = chosen.segments.is_true_ood
    logits = {kind: fit.grouped.logit for kind, fit in chosen.fits.items()}
    shown = {f'{kind}, grouped'.replace('_', ' '): logit for kind, logit in logits.items()}
    shown['max softmax'] = -chosen.segments.max_softmax
    draw_curves(folder / 'roc_pr.png', shown, truth)
    draw_reliability(
        folder / 'reliability.png',
        {kind.replace('_', ' '): fit.probability for kind, fit in chosen.fits.items()},
        truth,
    )
    draw_sizes(folder / 'sizes.png', chosen.segments, logits)
    figures.update(curves='roc_pr.png', reliability='reliability.png', sizes='sizes.png')


def _error_point(evaluation: ThresholdEvaluation, kind: str | None) -> dict[str, Any]:
    scores = evaluation.scores
    errors = scores['without_meta'] if kind is None else scores[kind]['at_operating_point']
    return {'entropy_threshold': scores['entropy_threshold'], **errors}
