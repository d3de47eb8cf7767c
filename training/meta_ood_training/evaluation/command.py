"""
`meta-ood-train evaluate`: the command line of `evaluate`.

Exit status 3: some frames could not be read; the others are scored.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
import sys
from typing import Any, TYPE_CHECKING

from meta_ood_training.output_places import add_overwrite, check_free
from meta_ood_training.plain_arguments import parse_size

if TYPE_CHECKING:  # PyTorch, for which --help would wait
    from meta_ood_training.evaluation.bench.run import MethodsEvaluation
    from meta_ood_training.evaluation.bundle_scores import EvaluationResult
    from meta_ood_training.evaluation.deployed_run import DeployedEvaluation


#: Tracks of SegmentMeIfYouCan; `test_help` compares them with `SIZE_RULES`, which import more.
COMPONENTS = ('anomaly_track', 'obstacle_track', 'all')


class _ListMethods(argparse.Action):
    """Print what every method is, and end."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from meta_ood_training.evaluation.bench.run import list_methods

        print(list_methods())
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument(
        '--bundle',
        action='extend',
        nargs='+',
        metavar='[TITLE=]PATH',
        help='bundle to score; several are compared in every figure (default: the installed one)',
    )
    parser.add_argument(
        '--data',
        '--dataset',
        action='append',
        dest='dataset',
        required=True,
        metavar='[TITLE:]NAME=PATH',
        help='data to score on; NAME is a layout, such as road_anomaly, camvid_test or folder, '
        'and a wrong one lists all',
    )
    parser.add_argument(
        '--part',
        action='append',
        default=[],
        metavar='WORD',
        help='report the images whose name begins so, or that a manifest tags so, separately, too',
    )
    parser.add_argument(
        '--score',
        action='append',
        metavar='SCORE',
        help='OoD score, such as variation_ratio (default: all); a wrong one lists all',
    )
    parser.add_argument(
        '--components',
        choices=COMPONENTS,
        help='score components, too, in a second pass; which sizes count, as in a track of '
        'SegmentMeIfYouCan',
    )
    parser.add_argument(
        '--segments',
        action='store_true',
        help='score the segments that the node would publish, instead of pixels',
    )
    parser.add_argument(
        '--decision',
        action='append',
        default=[],
        metavar='[TITLE=]ENTROPY[:META[:CORE]]',
        help='with --segments: thresholds of a decision to compare (default: those of the bundle)',
    )
    parser.add_argument(
        '--gallery',
        type=int,
        default=0,
        metavar='N',
        help='draw N images: with --segments those with most errors of each decision, with '
        '--methods the best and the worst of each',
    )
    parser.add_argument('--output', type=Path, help='folder for scores.json, scores.md, figures')
    methods = parser.add_argument_group('every score of the papers, ranked by AP')
    methods.add_argument(
        '--methods', metavar='NAMES', help='all, or names of --list-methods, with commas'
    )
    methods.add_argument(
        '--list-methods', action=_ListMethods, nargs=0, help='print what each method is, and end'
    )
    methods.add_argument(
        '--fit-data',
        action='append',
        default=[],
        metavar='[TITLE:]NAME=PATH',
        help='labelled streets for the methods that are fitted, none of them among --data',
    )
    methods.add_argument(
        '--fit-limit', type=int, help='frames of each, evenly spread, 0 all (default: 100)'
    )
    methods.add_argument(
        '--fitted', type=Path, metavar='FOLDER', help='of methods that were fitted before'
    )
    methods.add_argument(
        '--artefact',
        action='append',
        default=[],
        metavar='METHOD=PATH',
        help='what was trained for a method',
    )
    methods.add_argument(
        '--misclassification',
        action='store_true',
        help='judge methods by the wrong classes that they find, too',
    )
    methods.add_argument(
        '--no-published', action='store_true', help="leave the papers' own tables out"
    )
    parser.add_argument(
        '--work-short-side', type=int, help='short side of the work grid [px] (default: bundle)'
    )
    parser.add_argument(
        '--work-size', metavar='HxW', help='fixed work grid [px] instead, aspect not kept'
    )
    parser.add_argument('--limit', type=int, help='only the first images of every set, 0 all')
    parser.add_argument('--draws', type=int, default=1000, help='bootstrap draws; 0 for none')
    parser.add_argument('--seed', type=int, default=0, help='seed of the bootstrap')
    parser.add_argument('--device', default='auto', help='cpu, cuda, cuda:N or auto')
    parser.add_argument('--backend', default='auto', help='how the network runs')
    parser.add_argument('--precision', default='fp32', help='precision of the network')
    parser.add_argument(
        '--resume', action='store_true', help='go on with an interrupted evaluation in --output'
    )
    add_overwrite(parser)


def can_resume(arguments: argparse.Namespace) -> bool:
    """Return whether an interrupted evaluation has kept anything to go on with."""
    return arguments.output is not None


def run(arguments: argparse.Namespace) -> int:
    """Score, print the table, write the files."""
    from meta_ood_training.evaluation.bundle_scores import evaluate, EvaluationResult
    from meta_ood_training.evaluation.deployed_run import evaluate_segments
    from meta_ood_training.evaluation.frame_walk import SOME_SKIPPED

    _check_kind(arguments)
    is_first = int(os.environ.get('RANK') or '0') == 0
    if is_first and not arguments.resume:
        check_free(arguments.output, overwrite=arguments.overwrite)
    common: dict[str, Any] = {
        'bundles': arguments.bundle,
        'parts': arguments.part,
        'output': arguments.output,
        'work_short_side': arguments.work_short_side,
        'limit': arguments.limit,
        'draws': arguments.draws,
        'seed': arguments.seed,
        'device': arguments.device,
        'backend': arguments.backend,
        'precision': arguments.precision,
        'resume': arguments.resume,
        'progress': True,
    }
    result: EvaluationResult | DeployedEvaluation | MethodsEvaluation
    if arguments.methods:
        result = _run_methods(arguments)
    elif arguments.segments:
        result = evaluate_segments(
            arguments.dataset, decisions=arguments.decision, gallery=arguments.gallery, **common
        )
    else:
        result = evaluate(
            arguments.dataset,
            scores=arguments.score or (),
            components=arguments.components or '',
            work_size=parse_size(arguments.work_size),
            **common,
        )
    if is_first:
        print(result.table)
        if isinstance(result, EvaluationResult):
            for title, region in result.report['regions_of_interest'].items():
                print(f'{title}: {region}')
        if result.output:
            print(f'written to {result.output}')
        for title, frames in result.skipped.items():
            for name, reason in frames.items():
                print(f'meta-ood-train evaluate: skipped {name} of {title}: {reason}',
                      file=sys.stderr)  # fmt: skip
    # the status of one process: torchrun takes any other for a failure and ends the rest
    return SOME_SKIPPED if is_first and any(result.skipped.values()) else 0


def _run_methods(arguments: argparse.Namespace) -> MethodsEvaluation:
    from meta_ood_training.evaluation.bench.run import evaluate_methods, FIT_LIMIT

    return evaluate_methods(
        arguments.dataset,
        methods=arguments.methods.split(','),
        bundles=arguments.bundle,
        fit_data=arguments.fit_data,
        fit_limit=FIT_LIMIT if arguments.fit_limit is None else arguments.fit_limit,
        fitted=arguments.fitted,
        artefacts=arguments.artefact,
        parts=arguments.part,
        output=arguments.output,
        work_short_side=arguments.work_short_side,
        work_size=parse_size(arguments.work_size),
        limit=arguments.limit,
        gallery=arguments.gallery,
        misclassification=arguments.misclassification,
        components=arguments.components or '',
        draws=arguments.draws,
        seed=arguments.seed,
        device=arguments.device,
        resume=arguments.resume,
        with_published=not arguments.no_published,
        progress=True,
    )


_OF_METHODS = (
    'fit_data', 'fit_limit', 'fitted', 'artefact', 'misclassification', 'no_published',
)  # fmt: skip


def _check_kind(arguments: argparse.Namespace) -> None:
    """Refuse options of pixel scores with --segments, and the other way round."""
    if arguments.decision and not arguments.segments:
        raise ValueError(
            '--decision belongs to published segments, got it without --segments. Add that.'
        )
    if arguments.gallery and not (arguments.segments or arguments.methods):
        raise ValueError(
            '--gallery belongs to --segments or --methods, got it without. Add one of them.'
        )
    for name in _OF_METHODS:
        if getattr(arguments, name) not in (None, [], False) and not arguments.methods:
            raise ValueError(
                f'--{name.replace("_", "-")} belongs to methods, got it without --methods. '
                'Add --methods all, or names.'
            )
    if arguments.methods and (arguments.segments or arguments.score):
        raise ValueError(
            '--methods scores pixels by names of its own, got it with --segments or --score. '
            'Give one of them.'
        )
    if arguments.methods and (arguments.backend != 'auto' or arguments.precision != 'fp32'):
        raise ValueError(
            '--methods runs networks in PyTorch and float32, got --backend or --precision. '
            'Leave them out.'
        )
    for name in ('score', 'components', 'work_size'):
        if getattr(arguments, name) and arguments.segments:
            raise ValueError(
                f'--{name.replace("_", "-")} belongs to pixel scores, got it with --segments. '
                'Leave it out.'
            )
