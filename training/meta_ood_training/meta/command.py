"""
`meta-ood-train fit-meta`: segments -> meta classifier, judged and explained, in a new bundle.

Everything in the report is out of fold: no segment is judged by a classifier that has seen it or
anything of its group. Calibration and meta threshold, one or two numbers, are chosen for each fold
on the logits of the others, which come from classifiers fitted on that fold among others.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
import sys
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import load_bundle, save_bundle
from meta_ood_training.meta.checks import (
    check_options,
    check_outputs,
    check_segments,
    wanted_thresholds,
)
from meta_ood_training.meta.fitting.fit import MetaFitSettings
from meta_ood_training.meta.fitting.neural_meta import NeuralSettings
from meta_ood_training.meta.judging.comparison import choose_entropy_threshold, compare_stages
from meta_ood_training.meta.judging.evaluation import evaluate_threshold, ThresholdEvaluation
from meta_ood_training.meta.judging.explanation import draw_everything, explain_evaluation
from meta_ood_training.meta.options import add_arguments as add_arguments
from meta_ood_training.meta.options import KINDS
from meta_ood_training.meta.reporting.report import write_report
from meta_ood_training.meta.stages import load_segments, make_stages
from meta_ood_training.provenance.command_line import describe_command
from meta_ood_training.provenance.revision import source_revision
from meta_ood_training.segments.folders import check_folders
import numpy as np
from tqdm import tqdm


def run(arguments: argparse.Namespace) -> int:
    """
    Fit, judge, explain, and write bundle and report.

    Returns
    -------
    int
        0; 4 where no classifier could be fitted at any threshold, or at --entropy-threshold (the
        report says why).

    """
    check_options(arguments)
    bundle = load_bundle(arguments.bundle or None)
    sidecar, odd = check_segments(arguments, bundle)
    check_outputs(arguments)
    settings = _settings(arguments)
    kinds = (arguments.classifier,) if arguments.only else KINDS
    thresholds = wanted_thresholds(arguments, sidecar)
    evaluations = _evaluate(arguments, arguments.segments, thresholds, kinds, settings, 'fit')
    baseline = []
    if arguments.baseline:
        # all of its own, whatever --threshold says: its best one is the start
        its_own = check_folders(arguments.baseline)['entropy_thresholds']
        baseline = _evaluate(
            arguments, arguments.baseline, its_own, (KINDS[0],), settings, 'baseline'
        )
    report: dict[str, Any] = {
        'command': describe_command(sys.argv[1:]),
        'revision': source_revision(),
        'date': datetime.now(timezone.utc).date().isoformat(),
        'data': sidecar,
        'leaky_scaler': settings.leaky_scaler,
        'group_by': settings.group_by,
        'gap': settings.gap if settings.group_by == 'group' else 0.0,
        'min_object_px': arguments.min_object_px,
        'thresholds': [one.scores for one in evaluations],
        'baseline': [one.scores for one in baseline],
        'notes': [*_notes(evaluations), *odd],
        'test_data': check_folders(arguments.test) if arguments.test else None,
        'figures': {},
    }
    chosen, problem = _choose(arguments, evaluations)
    if chosen is None:
        report['notes'].append(f'No bundle, because {problem}')
    else:
        fit = chosen.fits[arguments.classifier]
        report['chosen'] = (
            f'{arguments.classifier} with entropy threshold {chosen.segments.entropy_threshold:g} '
            f'and meta threshold {fit.meta_threshold:.4f} ({fit.operating_point.rule}); '
            f'{_describe_levels(arguments, bundle, chosen)}'
        )
        stages = make_stages(arguments, evaluations, baseline, chosen) if arguments.test else []
        if stages:
            report['comparison'] = compare_stages(stages, seed=arguments.seed)
            report['comparison_of_parts'] = {
                word: compare_stages([one.of_part(word) for one in stages], seed=arguments.seed)
                for word in arguments.test_part
            }
        report['explanation'] = explain_evaluation(
            chosen,
            arguments.classifier,
            settings,
            metric_counts=[] if arguments.only else arguments.metric_counts,
            images=arguments.explain,
            test=stages[-1].segments if stages else None,
            folder=arguments.report,
            figures=report['figures'],
        )
        report['notes'] += report['explanation']['notes']
    draw_everything(arguments.report, evaluations, baseline, chosen, report['figures'])
    path = write_report(arguments.report, report)
    print(f'report: {path}')
    if chosen is None:
        print(f'meta-ood-train fit-meta: {problem}', file=sys.stderr)
        return 4
    print(report['chosen'])
    if arguments.output is not None:
        fitted = _fitted_bundle(arguments, bundle, sidecar, evaluations, chosen)
        saved = save_bundle(fitted, arguments.output)
        print(f'bundle: {arguments.output} ({saved.model_id})')
    return 0


def _settings(arguments: argparse.Namespace) -> MetaFitSettings:
    return MetaFitSettings(
        strength=arguments.strength,
        neural=NeuralSettings(epochs=arguments.epochs, seed=arguments.seed),
        leaky_scaler=arguments.leaky_scaler,
        folds=arguments.folds,
        group_by=arguments.group_by,
        gap=MetaFitSettings.gap if arguments.gap is None else arguments.gap,
        calibrate=not arguments.no_calibration,
        rule=arguments.rule,
        bound=arguments.bound,
        seed=arguments.seed,
    )


def _evaluate(
    arguments: argparse.Namespace,
    folders: Sequence[Path],
    thresholds: Sequence[float],
    kinds: tuple[str, ...],
    settings: MetaFitSettings,
    title: str,
) -> list[ThresholdEvaluation]:
    evaluations = []
    for threshold in thresholds:
        with tqdm(desc=f'{title}, threshold {threshold:g}', unit='step', mininterval=1) as bar:

            def show(kind: str, done: int, total: int, bar: tqdm = bar) -> None:
                if bar.total != total:
                    bar.reset(total)
                bar.set_postfix_str(kind, refresh=False)
                bar.update(done - bar.n)

            evaluations.append(
                evaluate_threshold(
                    load_segments(arguments, folders, threshold, split=arguments.split),
                    kinds,
                    settings,
                    neural_left_out=arguments.leave_one_out_network,
                    on_step=show,
                )
            )
    return evaluations


def _notes(evaluations: Sequence[ThresholdEvaluation]) -> list[str]:
    notes = []
    for one in evaluations:
        threshold = one.segments.entropy_threshold
        if one.problem:
            notes.append(f'Threshold {threshold:g}: no classifier, because {one.problem}')
        if one.segments.frames_available > len(one.segments.frame_name):
            notes.append(
                f'Threshold {threshold:g}: {len(one.segments.frame_name)} of '
                f'{one.segments.frames_available} images drawn at random, so that there are at '
                f'most --max-segments segments.'
            )
        if one.segments.left_out:
            notes.append(
                f'Threshold {threshold:g}: {one.segments.left_out} segments left out '
                '(more than half void, or incomplete), and '
                f'{one.segments.objects_left_out} objects that only they touch.'
            )
    return notes


def _choose(
    arguments: argparse.Namespace, evaluations: Sequence[ThresholdEvaluation]
) -> tuple[ThresholdEvaluation | None, str]:
    """Return the evaluation that goes into the bundle, or none and why."""
    wanted, kind = arguments.entropy_threshold, arguments.classifier
    if wanted is not None:
        # `check_segments` has seen that it is one of them
        evaluations = [
            one for one in evaluations if np.isclose(one.segments.entropy_threshold, wanted)
        ]
    if any(kind in one.fits for one in evaluations):
        return choose_entropy_threshold(evaluations, kind, arguments.choose), ''
    return None, evaluations[0].problem


def _core_threshold(arguments: argparse.Namespace, bundle: Bundle) -> float:
    return bundle.core_threshold if arguments.core_threshold is None else arguments.core_threshold


def _describe_levels(
    arguments: argparse.Namespace, bundle: Bundle, chosen: ThresholdEvaluation
) -> str:
    """Say where segments are judged and published: every count of the report is of the first."""
    judged, core = chosen.segments.entropy_threshold, _core_threshold(arguments, bundle)
    published = f'their cores at {core:g}' if core > judged else 'as they were judged'
    return f'judged at {judged:g}, published: {published}'


def _fitted_bundle(
    arguments: argparse.Namespace,
    bundle: Bundle,
    sidecar: dict[str, Any],
    evaluations: Sequence[ThresholdEvaluation],
    chosen: ThresholdEvaluation,
) -> Bundle:
    kind = arguments.classifier
    scores = chosen.scores[kind]['at_operating_point']
    return replace(
        bundle,
        entropy_threshold=chosen.segments.entropy_threshold,
        meta_threshold=chosen.fits[kind].meta_threshold,
        core_threshold=_core_threshold(arguments, bundle),
        label_rule=sidecar['label_rule'],
        meta_classifiers=tuple(
            one.fits[kind].classifier for one in evaluations if kind in one.fits
        ),
        provenance={
            **bundle.provenance,
            'meta_classifier': {
                'command': describe_command(sys.argv[1:]),
                'revision': source_revision(),
                'date': datetime.now(timezone.utc).date().isoformat(),
                'segments_command': sidecar['command'],
                'kind': kind,
                'segments': len(chosen.segments),
                'images': len(chosen.segments.frame_name),
                'settings': asdict(_settings(arguments)),
                'out_of_fold': {
                    'auroc': round(chosen.scores[kind]['ranking']['auroc'], 4),
                    'false_segments': scores['false_positives'],
                    'missed_objects': scores['missed_objects'],
                    'objects': scores['objects'],
                    'f1': round(scores['f1'], 4),
                },
            },
        },
    )
