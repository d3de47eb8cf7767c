"""
`meta-ood-train segments`: the command line of `extract_segments`.

Exit status 3: a bag ended early; what was readable is there.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import sys

from meta_ood_training.plain_arguments import set_defaults
from meta_ood_training.provenance.command_line import describe_command
from meta_ood_training.segments.options import ExtractionOptions, SHAPES

#: Exit status when a bag ended early.
TRUNCATED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument(
        'folder', nargs='?', type=Path, metavar='OUTPUT', help='folder for the tables'
    )
    parser.add_argument('--output', type=Path, help='the same, as other verbs have it')
    source = parser.add_argument_group('frames with ground truth')
    source.add_argument(
        '--data',
        action='append',
        default=[],
        metavar='[SPLIT:]NAME=PATH',
        help='a data set, e.g. camvid_fit=data/camvid or select:folder=runs/overlay; repeatable',
    )
    source.add_argument(
        '--scenes', action='append', default=[], metavar='FIRST:END', help='seeds of scenes'
    )
    source.add_argument('--scene-shapes', choices=SHAPES, help='families of objects')
    source.add_argument(
        '--bag',
        action='append',
        default=[],
        type=Path,
        dest='bags',
        metavar='BAG',
        help='a ROS 2 bag (.mcap, .db3)',
    )
    source.add_argument('--limit', type=int, help='only so many frames a source, 0 all')
    bags = parser.add_argument_group('bags')
    bags.add_argument('--image-topic', help='default: the only one with images')
    bags.add_argument('--label-topic', help='mono8 ground truth of the same stamps')
    bags.add_argument(
        '--label-folder', type=Path, help='ground truth PNG, named <seconds>_<nanoseconds>.png'
    )
    bags.add_argument(
        '--recorded',
        metavar='TOPIC',
        help='take recorded ~/segments with metrics instead of running the network',
    )
    bags.add_argument('--recorded-ids', metavar='TOPIC', help='their ~/segment_ids (mono16)')
    bags.add_argument('--block-seconds', type=float, help='length of a group of frames of a bag')
    method = parser.add_argument_group('method')
    method.add_argument('--bundle', help='model bundle; default: the installed one')
    method.add_argument(
        '--threshold',
        type=float,
        nargs='+',
        dest='thresholds',
        metavar='THRESHOLD',
        help='entropy thresholds; default: the one of the bundle',
    )
    method.add_argument(
        '--core-threshold',
        type=float,
        nargs='+',
        dest='core_thresholds',
        metavar='THRESHOLD',
        help='label the cores, too, that are published of the segments of each lower --threshold',
    )
    method.add_argument(
        '--label-rule',
        metavar='RULE',
        help='how void pixels count: deployed or published',
    )
    method.add_argument('--split', help='value of the column split')
    method.add_argument('--device', help='cpu, cuda, cuda:N or auto')
    method.add_argument('--backend', help='how the network runs')
    method.add_argument(
        '--resume', action='store_true', help='go on with an interrupted run into the folder'
    )
    method.add_argument(
        '--overwrite',
        action='store_true',
        help='replace the segments in the folder: at the end; of several processes, at the start',
    )
    set_defaults(parser, ExtractionOptions)


def run(arguments: argparse.Namespace) -> int:
    """Write the tables."""
    from meta_ood_training.segments.segment_folder import extract_segments

    given = dict(vars(arguments))
    places = [one for one in (given.pop('folder'), given.pop('output')) if one is not None]
    if len(places) != 1:
        raise ValueError(
            f'segments needs one folder to write to, got {len(places)}. Give it first, or as '
            '--output.'
        )
    result = extract_segments(
        places[0], **given, progress=True, command=describe_command(sys.argv[1:])
    )
    counts = result.describe_counts()
    print(f'part {result.part + 1} of {result.parts}: {counts} -> {result.folder}')
    for loss in result.losses:
        print(f'meta-ood-train segments: {loss}', file=sys.stderr)
    return TRUNCATED if result.losses else 0
