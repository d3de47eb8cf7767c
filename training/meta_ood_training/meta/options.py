"""The options of `meta-ood-train fit-meta`."""

from __future__ import annotations

import argparse
from pathlib import Path

from meta_ood_training.meta.fitting.calibration import RULES

KINDS = ('logistic_regression', 'neural_network')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument('segments', nargs='+', type=Path, help='folders made by `segments`')
    data = parser.add_argument_group('data')
    data.add_argument('--split', help='fit only on images of this split; default all')
    data.add_argument(
        '--threshold', type=float, nargs='+', help='default: all that were extracted'
    )
    data.add_argument('--test', nargs='+', type=Path, default=[], help='held-out segments')
    data.add_argument(
        '--baseline', nargs='+', type=Path, default=[], help='same, network before OoD training'
    )
    data.add_argument('--baseline-test', nargs='+', type=Path, default=[], help='same, of --test')
    data.add_argument(
        '--test-part', nargs='+', metavar='WORD', default=[],
        help='judge the test images whose name begins so separately, too',
    )  # fmt: skip
    data.add_argument('--max-segments', type=int, default=200_000, help='whole images are drawn')
    data.add_argument('--min-object-px', type=int, default=0, help='smaller objects may be missed')
    data.add_argument(
        '--drop-incomplete', action='store_true', help='leave out segments with NaN metrics'
    )
    method = parser.add_argument_group('method')
    method.add_argument('--classifier', choices=KINDS, default=KINDS[0], help='goes in the bundle')
    method.add_argument(
        '--only', action='store_true', help='no comparison with the other one, no Algorithm 1'
    )
    method.add_argument('--strength', type=float, default=1.0, help='C of logistic regression')
    method.add_argument('--epochs', type=int, default=50, help='of the neural network')
    method.add_argument('--leaky-scaler', action='store_true', help='published order of z-scores')
    method.add_argument('--folds', type=int, default=10, help='of the cross-validation')
    method.add_argument(
        '--group-by',
        choices=('group', 'image'),
        default='group',
        help='group: sequence block and pasted object together, leaks least',
    )
    method.add_argument(
        '--gap',
        type=float,
        metavar='SHARE',
        help='of a block next to a held-out one: not fitted on either; default 0.2',
    )
    method.add_argument('--rule', choices=RULES, default='max_f1', help='of the meta threshold')
    method.add_argument('--bound', type=float, default=0.05, help='of max_missed and max_false')
    method.add_argument(
        '--no-calibration', action='store_true', help='probabilities as the classifier gives them'
    )
    method.add_argument(
        '--leave-one-out-network', action='store_true', help='one training a segment: minutes'
    )
    method.add_argument('--seed', type=int, default=0)
    output = parser.add_argument_group('output')
    output.add_argument('--bundle', default='', help='the network; default: the installed bundle')
    output.add_argument('--output', type=Path, help='bundle to write; default: none')
    output.add_argument('--report', type=Path, default=Path('runs/fit_meta'), help='folder')
    output.add_argument(
        '--entropy-threshold', type=float, help='what the bundle uses; default: see --choose'
    )
    output.add_argument(
        '--core-threshold',
        type=float,
        help='where the bundle cuts accepted segments, 0 nowhere; default: as in --bundle',
    )
    output.add_argument(
        '--choose',
        choices=('errors', 'f1', 'siou'),
        default='errors',
        help='how the entropy threshold of the bundle is chosen',
    )
    output.add_argument(
        '--metric-counts',
        type=int,
        nargs='*',
        default=[1, 2, 3, 5, 8, 12, 16, 21, 30, 45, 60, 75],
        help='N of Algorithm 1; nothing leaves it out',
    )
    output.add_argument('--explain', nargs='*', default=[], metavar='IMAGE', help='why, for each')
