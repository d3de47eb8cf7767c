"""
`meta-ood-train predict`: the command line of `predict`.

Exit status 3: some frames were skipped, or the input ended early; all others are there.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import sys

SOME_SKIPPED = 3
"""Exit status when part of the input could not be read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument(
        'inputs',
        nargs='+',
        type=Path,
        metavar='IMAGES|VIDEO|BAG',
        help='images or a folder of them, a video file, or a ROS 2 bag (.mcap, .db3)',
    )
    parser.add_argument('--output', type=Path, required=True, help='folder to write')
    parser.add_argument('--bundle', help='model bundle (default: the installed one)')
    parser.add_argument(
        '--pictures',
        nargs='*',
        default=['overlay', 'entropy', 'semantic', 'segment_ids'],
        metavar='PICTURE',
        help='what to draw of each frame; nothing behind it draws none',
    )
    parser.add_argument(
        '--table', default='jsonl', choices=('jsonl', 'parquet'), help='one row a segment'
    )
    parser.add_argument(
        '--coco', action='store_true', help='accepted segments as polygons, too: coco.json'
    )
    parser.add_argument(
        '--benchmark',
        default='',
        metavar='fishyscapes|segment_me_if_you_can:DATASET',
        help='also the files that a public benchmark reads; DATASET as AnomalyTrack-all',
    )
    parser.add_argument(
        '--entropy-threshold', type=float, default=-1.0, help='-1 takes that of the bundle'
    )
    parser.add_argument(
        '--meta-threshold', type=float, default=-1.0, help='-1 takes that of the bundle'
    )
    parser.add_argument(
        '--work-short-side',
        type=int,
        default=-1,
        help='short side of the work grid [px]; -1 as the bundle, 0 as the images',
    )
    parser.add_argument('--topic', default='', help='of a bag (default: the only one with images)')
    parser.add_argument('--limit', type=int, default=0, help='only the first frames, 0 all')
    parser.add_argument('--device', default='auto', help='cpu, cuda, cuda:N or auto')
    parser.add_argument('--backend', default='auto', help='how the network runs')
    parser.add_argument('--precision', default='auto', help='precision of the network')
    parser.add_argument(
        '--resume', action='store_true', help='go on with an earlier run in --output'
    )


def run(arguments: argparse.Namespace) -> int:
    """Write pictures and tables."""
    from meta_ood_training.prediction.prediction_folder import predict

    result = predict(**vars(arguments), progress=True)
    done = result.frames - result.resumed
    rate = f', {done / result.seconds:.1f} frames/s' if done and result.seconds else ''
    before = f' ({result.resumed} of them before)' if result.resumed else ''
    print(
        f'{result.frames} frames{before}, {result.segments} segments, {result.accepted} accepted'
        f'{rate} -> {result.output}'
    )
    if result.skipped:
        named = ', '.join(list(result.skipped)[:5]) + (', ...' if len(result.skipped) > 5 else '')
        print(
            f'meta-ood-train predict: {len(result.skipped)} frames were skipped ({named}); '
            f'{result.output}/predict.json says why.',
            file=sys.stderr,
        )
    if result.loss:
        print(f'meta-ood-train predict: {result.loss}', file=sys.stderr)
    return SOME_SKIPPED if result.skipped or result.loss else 0
