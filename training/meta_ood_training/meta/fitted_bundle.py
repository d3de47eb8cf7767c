"""
`fit_meta`: segments -> meta classifier, judged and explained, in a new bundle.

Everything in the report is out of fold: no segment is judged by a classifier that has seen it or
anything of its group. Calibration and meta threshold, one or two numbers, are chosen for each fold
on the logits of the others, which come from classifiers fitted on that fold among others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import load_bundle, save_bundle
from meta_ood_ros.core.files.whole_folders import replace_folder
from meta_ood_training.meta.checks import (
    check_options,
    check_outputs,
    check_segments,
    wanted_thresholds,
)
from meta_ood_training.meta.core_thresholds import (
    best_core,
    cores_at,
    describe_levels,
    find_lacking,
    note_lacking,
    summarize_published,
    wanted_cores,
)
from meta_ood_training.meta.fitting.fit import MetaFitSettings
from meta_ood_training.meta.fitting.gradient_boosting import BoostingSettings
from meta_ood_training.meta.fitting.neural_meta import NeuralSettings
from meta_ood_training.meta.judging.comparison import choose_entropy_threshold, compare_stages
from meta_ood_training.meta.judging.decision_pictures import draw_decisions
from meta_ood_training.meta.judging.evaluation import evaluate_threshold, ThresholdEvaluation
from meta_ood_training.meta.judging.explanation import draw_everything, explain_evaluation
from meta_ood_training.meta.options import FitMetaOptions, KINDS
from meta_ood_training.meta.reporting.phrases import note_omissions
from meta_ood_training.meta.reporting.report import write_report
from meta_ood_training.meta.result import FitMetaResult
from meta_ood_training.meta.stages import last_judged, load_segments, make_stages
from meta_ood_training.plain_arguments import as_tuple
from meta_ood_training.provenance.revision import source_revision
from meta_ood_training.segments.folders import check_folders, list_used_sources
from meta_ood_training.segments.table import read_sidecar
import numpy as np
from tqdm import tqdm


def fit_meta(
    segments: str | Path | Sequence[str | Path],
    *,
    bundle: Bundle | str | Path | None = None,
    options: FitMetaOptions | None = None,
    progress: bool = False,
    command: str = '',
    **chosen: Any,
) -> FitMetaResult:
    """
    Fit, judge and explain meta classifiers; write the report, and the bundle where one is wanted.

    Parameters
    ----------
    segments : str, Path or sequence of them
        Folders that `extract_segments` wrote.
    bundle : Bundle, str or Path, optional
        The network that they come from; the installed default where absent.
    options : FitMetaOptions, optional
        Data, method and output.
    progress : bool
        Whether bars are shown.
    command : str
        What report and bundle state as the command that made them.
    **chosen
        Fields of FitMetaOptions: `output='bundles/better', folds=5`.

    Returns
    -------
    FitMetaResult
        The bundle and all numbers. Where no classifier could be fitted at any threshold, or at
        the one wanted, its `problem` says why, and so does the report.

    Raises
    ------
    ValueError
        An option, folder, image or threshold is wrong, or they do not go together.
    OSError
        Something is not there.

    """
    options = replace(options or FitMetaOptions(), segments=as_tuple(segments, Path), **chosen)
    command = command or 'meta_ood_training.fit_meta'
    check_options(options)
    bundle = load_bundle(bundle or None)
    sidecar, odd = check_segments(options, bundle)
    check_outputs(options)
    settings = _settings(options)
    kinds = (options.classifier,) if options.only else KINDS
    thresholds = wanted_thresholds(options, sidecar)
    cores = wanted_cores(options, bundle)
    lacking = find_lacking(options.segments, cores, thresholds)
    lacking_test = find_lacking(options.test, cores, thresholds)
    counted = () if lacking or cores[-1] <= thresholds[0] else cores
    evaluations = _evaluate(
        options, options.segments, thresholds, kinds, settings, 'fit', progress, counted
    )
    baseline = []
    if options.baseline:
        # all of its own, whatever --threshold says: its best one is the start
        its_own = check_folders(options.baseline)['entropy_thresholds']
        baseline = _evaluate(
            options, options.baseline, its_own, (KINDS[0],), settings, 'baseline', progress
        )
    report: dict[str, Any] = {
        'command': command,
        'revision': source_revision(),
        'date': datetime.now(timezone.utc).date().isoformat(),
        'data': {
            **sidecar,
            'sources': list_used_sources(sidecar['sources'], options.segments, options.split),
        },
        'leaky_scaler': settings.leaky_scaler,
        'group_by': settings.group_by,
        'gap': settings.gap if settings.group_by == 'group' else 0.0,
        'min_object_px': options.min_object_px,
        'thresholds': [one.scores for one in evaluations],
        'baseline': [one.scores for one in baseline],
        'notes': [
            *note_omissions(evaluations),
            *odd,
            *note_lacking(lacking, lacking_test, cores),
        ],
        'counts_published': any(one.segments.published for one in evaluations),
        'test_data': check_folders(options.test) if options.test else None,
        'figures': {},
    }
    best, problem = _choose(options, evaluations)
    stages = []
    if best is None:
        report['notes'].append(f'No bundle, because {problem}')
    else:
        fit = best.fits[options.classifier]
        report['chosen'] = (
            f'{options.classifier} with entropy threshold {best.segments.entropy_threshold:g} '
            f'and meta threshold {fit.meta_threshold:.4f} ({fit.operating_point.rule}); '
            f'{describe_levels(best, options.classifier, cores)}'
        )
        stages = make_stages(options, evaluations, baseline, best) if options.test else []
        if stages:
            report['comparison'] = compare_stages(stages, seed=options.seed)
            report['comparison_of_parts'] = {
                word: compare_stages([one.of_part(word) for one in stages], seed=options.seed)
                for word in options.test_part
            }
    with replace_folder(options.report) as folder:
        if best is not None:
            report['explanation'] = explain_evaluation(
                best,
                options.classifier,
                settings,
                metric_counts=[] if options.only else options.metric_counts,
                images=options.explain,
                test=last_judged(stages),
                class_names=bundle.class_names,
                folder=folder,
                figures=report['figures'],
            )
            report['notes'] += report['explanation']['notes']
            undrawn = draw_decisions(
                folder,
                report['explanation']['segments'],
                [read_sidecar(one) for one in (*options.segments, *options.test)],
                bundle,
                best.segments.entropy_threshold,
            )
            report['notes'] += undrawn if options.explain else []
        draw_everything(folder, evaluations, baseline, best, report['figures'])
        path = options.report / write_report(folder, report).name
    fitted = None
    if best is not None:
        fitted = _fitted_bundle(options, bundle, cores, sidecar, evaluations, best, command)
        if options.output is not None:
            fitted = save_bundle(fitted, options.output)
    return FitMetaResult(
        bundle=fitted,
        chosen=report.get('chosen', ''),
        problem=problem,
        output=None if fitted is None else options.output,
        report=report,
        report_file=path,
        figures=tuple(options.report / name for name in report['figures'].values()),
    )


def _settings(options: FitMetaOptions) -> MetaFitSettings:
    return MetaFitSettings(
        strength=options.strength,
        neural=NeuralSettings(epochs=options.epochs, seed=options.seed),
        boosting=BoostingSettings(
            leaves=tuple(sorted(set(options.leaves))),
            trees=tuple(sorted(set(options.trees))),
            seed=options.seed,
        ),
        leaky_scaler=options.leaky_scaler,
        folds=options.folds,
        group_by=options.group_by,
        gap=MetaFitSettings.gap if options.gap is None else options.gap,
        calibrate=not options.no_calibration,
        rule=options.rule,
        bound=options.bound,
        seed=options.seed,
        ignored_metrics=options.ignored_metrics,
    )


def _evaluate(
    options: FitMetaOptions,
    folders: Sequence[Path],
    thresholds: Sequence[float],
    kinds: tuple[str, ...],
    settings: MetaFitSettings,
    title: str,
    progress: bool,
    cores: Sequence[float] = (),
) -> list[ThresholdEvaluation]:
    evaluations = []
    for threshold in thresholds:
        cuts = cores_at(cores, threshold)
        title_now = f'{title}, threshold {threshold:g}'
        with tqdm(desc=title_now, unit='step', mininterval=1, disable=not progress) as bar:

            def show(kind: str, done: int, total: int, bar: tqdm = bar) -> None:
                if bar.total != total:
                    bar.reset(total)
                bar.set_postfix_str(kind, refresh=False)
                bar.update(done - bar.n)

            evaluations.append(
                evaluate_threshold(
                    load_segments(options, folders, threshold, split=options.split, cores=cuts),
                    kinds,
                    settings,
                    also_as_judged=0.0 in cuts,
                    choose=options.choose,
                    neural_left_out=options.leave_one_out_network,
                    on_step=show,
                )
            )
    return evaluations


def _choose(
    options: FitMetaOptions, evaluations: Sequence[ThresholdEvaluation]
) -> tuple[ThresholdEvaluation | None, str]:
    """Return the evaluation that goes into the bundle, or none and why."""
    wanted, kind = options.entropy_threshold, options.classifier
    if wanted is not None:
        # `check_segments` has seen that it is one of them
        evaluations = [
            one for one in evaluations if np.isclose(one.segments.entropy_threshold, wanted)
        ]
    if any(kind in one.fits for one in evaluations):
        return choose_entropy_threshold(evaluations, kind, options.choose), ''
    return None, evaluations[0].problem


def _fitted_bundle(
    options: FitMetaOptions,
    bundle: Bundle,
    cores: Sequence[float],
    sidecar: dict[str, Any],
    evaluations: Sequence[ThresholdEvaluation],
    chosen: ThresholdEvaluation,
    command: str,
) -> Bundle:
    kind = options.classifier
    scores = chosen.scores[kind]['at_operating_point']
    return replace(
        bundle,
        entropy_threshold=chosen.segments.entropy_threshold,
        meta_threshold=chosen.fits[kind].meta_threshold,
        core_threshold=best_core(chosen, kind, cores),
        label_rule=sidecar['label_rule'],
        meta_classifiers=tuple(
            replace(
                one.fits[kind].classifier,
                network_sha256=bundle.network_sha256,
                score=sidecar['score'],
            )
            for one in evaluations
            if kind in one.fits
        ),
        provenance={
            **bundle.provenance,
            'meta_classifier': {
                'command': command,
                'revision': source_revision(),
                'date': datetime.now(timezone.utc).date().isoformat(),
                'segments_command': sidecar['command'],
                'kind': kind,
                'segments': len(chosen.segments),
                'images': len(chosen.segments.frame_name),
                'settings': asdict(_settings(options)),
                'out_of_fold': {
                    'auroc': round(chosen.scores[kind]['ranking']['auroc'], 4),
                    'false_segments': scores['false_positives'],
                    'missed_objects': scores['missed_objects'],
                    'objects': scores['objects'],
                    'f1': round(scores['f1'], 4),
                    **summarize_published(chosen, kind),
                },
            },
        },
    )
