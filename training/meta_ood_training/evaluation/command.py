"""`meta-ood-train evaluate`: the command line of `evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, TYPE_CHECKING

from meta_ood_training.output_places import add_overwrite, check_free
from meta_ood_training.plain_arguments import parse_size

if TYPE_CHECKING:  # PyTorch, for which --help would wait
    from meta_ood_training.evaluation.bundle_scores import EvaluationResult
    from meta_ood_training.evaluation.deployed_run import DeployedEvaluation


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
        help='OoD score, such as max_softmax (default: all); a wrong one lists all',
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
        help='with --segments: draw the N images with most errors of each decision',
    )
    parser.add_argument('--output', type=Path, help='folder for scores.json, scores.md, figures')
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
    add_overwrite(parser)


def run(arguments: argparse.Namespace) -> int:
    """Score, print the table, write the files."""
    from meta_ood_training.evaluation.bundle_scores import evaluate
    from meta_ood_training.evaluation.deployed_run import evaluate_segments

    _check_kind(arguments)
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
        'progress': True,
    }
    result: EvaluationResult | DeployedEvaluation
    if arguments.segments:
        result = evaluate_segments(
            arguments.dataset, decisions=arguments.decision, gallery=arguments.gallery, **common
        )
    else:
        result = evaluate(
            arguments.dataset,
            scores=arguments.score or (),
            work_size=parse_size(arguments.work_size),
            **common,
        )
    print(result.table)
    if result.output:
        print(f'written to {result.output}')
    return 0


def _check_kind(arguments: argparse.Namespace) -> None:
    """Refuse options of pixel scores with --segments, and the other way round."""
    for name in ('decision', 'gallery'):
        if getattr(arguments, name) and not arguments.segments:
            raise ValueError(
                f'--{name} belongs to published segments, got it without --segments. Add that.'
            )
    for name in ('score', 'work_size'):
        if getattr(arguments, name) and arguments.segments:
            raise ValueError(
                f'--{name.replace("_", "-")} belongs to pixel scores, got it with --segments. '
                'Leave it out.'
            )
