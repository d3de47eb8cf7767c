"""What was chosen on the segments to fit on -> the stages that are judged on the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
import logging
from pathlib import Path
import sys

from meta_ood_training.meta.core_thresholds import find_lacking
from meta_ood_training.meta.judging.comparison import (
    choose_entropy_threshold,
    find_error_minimising_threshold,
    Stage,
)
from meta_ood_training.meta.judging.evaluation import ThresholdEvaluation
from meta_ood_training.meta.options import FitMetaOptions
from meta_ood_training.segments.loading import load_segment_set
from meta_ood_training.segments.segment_set import SegmentSet
import numpy as np

_LOG = logging.getLogger(__name__)


def load_segments(
    options: FitMetaOptions,
    folders: Sequence[Path],
    threshold: float,
    *,
    split: str | None = None,
    is_test: bool = False,
    cores: Sequence[float] = (),
) -> SegmentSet:
    """Read the segments of one entropy threshold, and their cores, as the options say."""
    segments = load_segment_set(
        folders,
        threshold,
        split=split,
        # nothing is fitted on a test: all of it counts
        max_segments=sys.maxsize if is_test else options.max_segments,
        min_object_px=options.min_object_px,
        seed=options.seed,
        core_thresholds=[core for core in cores if core],
    )
    if options.drop_incomplete:
        incomplete = ~np.isfinite(segments.metrics).all(axis=1)
        if incomplete.any():
            _LOG.warning('left out %d segments with metrics that are not finite', incomplete.sum())
            segments = segments.without_unknown(incomplete)
    return segments


def make_stages(
    options: FitMetaOptions,
    evaluations: Sequence[ThresholdEvaluation],
    baseline: Sequence[ThresholdEvaluation],
    chosen: ThresholdEvaluation,
) -> list[Stage]:
    """
    Return what is judged on the test, every choice made on the segments to fit on.

    Parameters
    ----------
    evaluations, baseline : sequence of ThresholdEvaluation
        Of the segments to fit on; of the network before OoD training, perhaps none.

    Returns
    -------
    list of Stage
        Before OoD training, after it, each classifier; that of the bundle is the last. Where it
        publishes cores and the test holds them, what is published stands behind it.

    """
    stages = []
    if baseline and options.baseline_test:
        threshold = find_error_minimising_threshold(baseline)
        stages.append(_plain_stage(options, options.baseline_test, threshold, 'before'))
    alone = find_error_minimising_threshold(evaluations)
    stages.append(_plain_stage(options, options.test, alone, 'OoD training'))
    for kind in sorted(chosen.fits, key=lambda kind: kind == options.classifier):
        best = (
            chosen
            if kind == options.classifier
            else choose_entropy_threshold(evaluations, kind, options.choose)
        )
        fit = best.fits[kind]
        threshold = best.segments.entropy_threshold
        core = best.scores[kind]['core_threshold'] if kind == options.classifier else 0.0
        cores = [] if find_lacking(options.test, [core], [threshold]) else [core]
        segments = load_segments(options, options.test, threshold, is_test=True, cores=cores)
        probability = fit.classifier.predict(segments.metrics)
        judged = Stage(
            title=f'OoD training + {kind}',
            entropy_threshold=threshold,
            meta_threshold=fit.meta_threshold,
            segments=segments,
            accepted=probability >= np.float32(fit.meta_threshold),
        )
        stages.append(judged)
        stages += [
            replace(
                judged,
                title=f'{judged.title}, cores at {one.core_threshold:g} as published',
                segments=one.segments,
                accepted=judged.accepted[one.parent],
            )
            for one in segments.published
        ]
    return stages


def last_judged(stages: Sequence[Stage]) -> SegmentSet | None:
    """Return the segments that the bundle judges on the test: published ones have no metrics."""
    judged = [one.segments for one in stages if one.segments.metric_names]
    return judged[-1] if judged else None


def _plain_stage(
    options: FitMetaOptions, folders: Sequence[Path], threshold: float, title: str
) -> Stage:
    segments = load_segments(options, folders, threshold, is_test=True)
    return Stage(title, threshold, None, segments, np.ones(len(segments), dtype=bool))
