"""`meta-ood-train resynthesis`: the command line of `train_resynthesis`."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
import sys

from meta_ood_training.methods.resynthesis.settings import ResynthesisSettings
from meta_ood_training.output_places import add_overwrite
from meta_ood_training.plain_arguments import set_defaults


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument(
        '--data',
        action='append',
        required=True,
        metavar='[TITLE:]NAME=PATH',
        help='labelled street frames to train on, e.g. camvid_fit=data/camvid; repeatable',
    )
    parser.add_argument(
        '--select',
        action='append',
        required=True,
        metavar='[TITLE:]NAME=PATH',
        help='others, on which the weights of the ensemble are searched; repeatable',
    )
    parser.add_argument(
        '--void',
        action='append',
        default=[],
        metavar='TITLE',
        help='data whose void pixels stand for the unknown, as in SynBoost; repeatable',
    )
    parser.add_argument('--bundle', help='whose network it is for; default: the installed one')
    parser.add_argument('--output', type=Path, required=True, help='run folder')
    parser.add_argument('--device', default='auto', help='cpu, cuda, cuda:N or auto')
    parser.add_argument(
        '--resume', action='store_true', help='go on with a killed run in --output'
    )
    add_overwrite(parser)
    settings = parser.add_argument_group('settings')
    for name, kind, text in (
        ('scale', float, "sides of the resynthesis' grid by those of the work grid"),
        ('width', int, 'channels of the generator on its finest grid'),
        ('generator-steps', int, 'frames that the generator is trained on'),
        ('discrepancy-steps', int, 'frames that the discrepancy networks are trained on'),
        ('generator-rate', float, 'peak of its learning rate'),
        ('discrepancy-rate', float, 'peak of theirs'),
        ('perceptual-weight', float, 'of the difference in features beside that of pixels'),
        ('swap-share', float, 'chance that a segment gets another class'),
        ('smallest', float, 'segment that may, share of the frame'),
        ('largest', float, 'segment that may, share of the frame'),
        ('ensemble-steps', int, 'weights of the ensemble are multiples of one over this'),
        ('select-frames', int, 'frames on which these are searched, 0 all'),
        ('seed', int, 'decides everything'),
        ('resume-steps', int, 'steps between two points to go on from'),
    ):
        settings.add_argument(f'--{name}', type=kind, help=text)
    set_defaults(parser, ResynthesisSettings)


def run(arguments: argparse.Namespace) -> int:
    """Train, and print what the swapped selection frames say about it."""
    from meta_ood_training.methods.resynthesis.training import train_resynthesis
    from meta_ood_training.provenance.command_line import describe_command

    given = {one.name: getattr(arguments, one.name) for one in fields(ResynthesisSettings)}
    result = train_resynthesis(
        arguments.data,
        arguments.select,
        arguments.output,
        bundle=arguments.bundle,
        void_data=arguments.void,
        settings=ResynthesisSettings(**given),
        device=arguments.device,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        progress=True,
        command=describe_command(sys.argv[1:]),
    )
    for stage, losses in result.report['losses'].items():
        print(
            f'{stage}: loss {losses["first"]:.4f} -> {losses["last"]:.4f}, {losses["steps"]} steps'
        )
    print(result)
    return 0
