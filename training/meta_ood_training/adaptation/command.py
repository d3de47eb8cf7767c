"""
`meta-ood-train adapt`: the command line of `adapt`.

Exit status 3: some frames were skipped; 1: no filter could be fitted, so there is no bundle.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
import shlex
import sys

from meta_ood_training.adaptation.options import AdaptOptions
from meta_ood_training.plain_arguments import set_defaults

SOME_SKIPPED, NO_BUNDLE = 3, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    data = parser.add_argument_group('recordings, taken to show nothing unknown')
    data.add_argument(
        '--bag', nargs='+', type=Path, dest='bags', metavar='DRIVE', help='ROS 2 bags'
    )
    data.add_argument('--video', nargs='+', type=Path, dest='videos', metavar='FILE')
    data.add_argument(
        '--images', nargs='+', type=Path, metavar='FOLDER', help='in the order of their names'
    )
    data.add_argument('--topic', help='of the bags (default: the only one with images)')
    data.add_argument('--mask', type=Path, help="PNG, above 0 on the robot's own body")
    data.add_argument(
        '--masks', type=Path, metavar='FOLDER', help='the same for <recording>/<frame>.png'
    )
    data.add_argument('--frames', type=int, help='used of all recordings, evenly in time')
    data.add_argument(
        '--objects',
        nargs='+',
        metavar='LAYOUT=PATH',
        help='unknown objects, LAYOUT folder, coco or ecssd (default: rendered ones)',
    )
    method = parser.add_argument_group('method')
    method.add_argument('--bundle', default='', help='start and teacher (default: installed)')
    method.add_argument('--steps', type=int, help='of training')
    method.add_argument('--sure', type=float, help='least softmax where the start teaches')
    method.add_argument('--false-per-minute', type=float, help='false segments let through')
    method.add_argument('--rate', type=float, help='frames a second on the robot')
    method.add_argument(
        '--threshold', type=float, nargs='+', dest='thresholds', help='entropy, one is chosen'
    )
    method.add_argument('--scenes', type=int, help='rendered, of the old domain; 0 for none')
    method.add_argument('--seed', type=int)
    method.add_argument('--device', help='cpu, cuda, cuda:N or auto')
    method.add_argument(
        '--set',
        nargs='+',
        dest='overrides',
        metavar='key=value',
        help='of the training: optimizer.learning_rate=1e-4 ...',
    )
    parser.add_argument('--output', type=Path, required=True, help='folder; names the bundle')
    parser.add_argument(
        '--resume', action='store_true', help='go on with an earlier run in --output'
    )
    set_defaults(parser, AdaptOptions)


def run(arguments: argparse.Namespace) -> int:
    """Adapt, and say in a line what came of it."""
    from meta_ood_training.adaptation.adapt_run import adapt

    given = vars(arguments)
    chosen = {one.name: given[one.name] for one in fields(AdaptOptions)}
    result = adapt(
        arguments.output,
        bundle=arguments.bundle or None,
        resume=arguments.resume,
        progress=True,
        command=_command(arguments),
        **chosen,
    )
    if result.skipped:
        print(
            f'meta-ood-train adapt: {len(result.skipped)} frames were skipped '
            f'({", ".join(list(result.skipped)[:5])}'
            f'{", ..." if len(result.skipped) > 5 else ""}); report.json says why.',
            file=sys.stderr,
        )
    if result.problem:
        print(
            f'meta-ood-train adapt: no bundle, because {result.problem} The report is in '
            f'{result.output}.',
            file=sys.stderr,
        )
        return NO_BUNDLE
    print(f'{result.report["summary"]}; bundle and report.md in {result.output}')
    return SOME_SKIPPED if result.skipped else 0


def _command(arguments: argparse.Namespace) -> str:
    """Return the command with the names of what it read, not where it lay."""
    words = ['meta-ood-train', 'adapt']
    for option, paths in (
        ('--bag', arguments.bags),
        ('--video', arguments.videos),
        ('--images', arguments.images),
    ):
        words += [option, *(path.name for path in paths)] if paths else []
    if arguments.objects:
        words += ['--objects', *(one.partition('=')[0] for one in arguments.objects)]
    for name in ('false_per_minute', 'rate', 'frames', 'steps', 'sure', 'scenes', 'seed'):
        value = getattr(arguments, name)
        if value != getattr(AdaptOptions(), name):
            words += [f'--{name.replace("_", "-")}', str(value)]
    words += ['--set', *arguments.overrides] if arguments.overrides else []
    return shlex.join(words)
