"""What may be chosen when a meta classifier is fitted, for `fit_meta` and for its verb."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meta_ood_training.output_places import add_overwrite
from meta_ood_training.plain_arguments import as_tuple, check_choice, set_defaults

KINDS = ('logistic_regression', 'neural_network', 'gradient_boosting')
GROUPS = ('group', 'image', 'split')
MEASURES = ('errors', 'f1', 'siou')
RULES = ('max_f1', 'max_missed', 'max_false')


@dataclass(frozen=True)
class FitMetaOptions:
    """
    Data, method and output of `fit_meta`.

    Where several are possible, one alone may be given as it is. Folders are those that
    `extract_segments` wrote.

    Attributes
    ----------
    segments : tuple of Path
        What is fitted on.
    split : str or None
        Fit only on images of this split; None takes all.
    thresholds : tuple of float
        Entropy thresholds to fit at; all that were extracted where empty.
    test : tuple of Path
        Held-out segments.
    baseline, baseline_test : tuple of Path
        Segments of the network before OoD training, and its held-out ones.
    test_part : tuple of str
        Judge the test images whose name begins so separately, too.
    max_segments : int
        Whole images are drawn until there are as many.
    min_object_px : int
        Smaller objects may be missed.
    drop_incomplete : bool
        Leave out segments with metrics that are not finite.
    classifier : str
        Goes into the bundle: 'logistic_regression', 'neural_network' or 'gradient_boosting'.
    only : bool
        No comparison with the others, no Algorithm 1.
    strength : float
        C of the logistic regression.
    epochs : int
        Of the neural network.
    trees, leaves : tuple of int
        Numbers of trees, and of leaves of a tree, from which gradient boosting chooses.
    leaky_scaler : bool
        The published order of z-scores.
    folds : int
        Of the cross-validation.
    group_by : str
        What stays together in a fold: 'group' (sequence block and pasted object), 'image', or
        'split': each domain, as `extract_segments` named it, is left out on its own.
    gap : float or None
        Share of a block next to a held-out one that is not fitted on either; None is 0.2.
    rule : str
        Of the meta threshold, one of RULES.
    bound : float
        Of the rules max_missed and max_false.
    ignored_metrics : tuple of str
        Metrics, or patterns of them (`centroid_*`), that the classifier does not use.
    no_calibration : bool
        Probabilities as the classifier gives them.
    leave_one_out_network : bool
        One training a segment: minutes.
    seed : int
        Decides draws and folds.
    output : Path or None
        Bundle to write; none where absent.
    report : Path
        Folder of report.json, report.md and figures.
    entropy_threshold : float or None
        What the bundle uses; `choose` decides where absent.
    core_threshold : tuple of float
        Where the bundle cuts accepted segments, 0 nowhere; as it did where empty. What is
        published then is what `bound` and `choose` count; of several, `choose` decides.
    choose : str
        How they are chosen: by 'errors', 'f1' or 'siou'.
    metric_counts : tuple of int
        N of Algorithm 1; empty leaves it out.
    explain : tuple of str
        Images of which each segment is explained.

    Raises
    ------
    ValueError
        On construction, where a word is none of those known; `fit_meta` checks the numbers.

    """

    segments: tuple[Path, ...] = ()
    split: str | None = None
    thresholds: tuple[float, ...] = ()
    test: tuple[Path, ...] = ()
    baseline: tuple[Path, ...] = ()
    baseline_test: tuple[Path, ...] = ()
    test_part: tuple[str, ...] = ()
    max_segments: int = 200_000
    min_object_px: int = 0
    drop_incomplete: bool = False
    classifier: str = KINDS[0]
    only: bool = False
    strength: float = 1.0
    epochs: int = 50
    trees: tuple[int, ...] = (25, 50, 75, 100, 150)
    leaves: tuple[int, ...] = (4, 8)
    leaky_scaler: bool = False
    folds: int = 10
    group_by: str = 'group'
    gap: float | None = None
    rule: str = 'max_f1'
    bound: float = 0.05
    ignored_metrics: tuple[str, ...] = ()
    no_calibration: bool = False
    leave_one_out_network: bool = False
    seed: int = 0
    output: Path | None = None
    report: Path = Path('runs/fit_meta')
    entropy_threshold: float | None = None
    core_threshold: tuple[float, ...] = ()
    choose: str = 'errors'
    metric_counts: tuple[int, ...] = (1, 2, 3, 5, 8, 12, 16, 21, 30, 45, 60, 75)
    explain: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kinds: dict[str, Any] = {
            **dict.fromkeys(('segments', 'test', 'baseline', 'baseline_test'), Path),
            **dict.fromkeys(('test_part', 'explain', 'ignored_metrics'), str),
            **dict.fromkeys(('thresholds', 'core_threshold'), float),
            **dict.fromkeys(('metric_counts', 'trees', 'leaves'), int),
        }
        for name, kind in kinds.items():
            object.__setattr__(self, name, as_tuple(getattr(self, name), kind))
        object.__setattr__(self, 'report', Path(self.report))
        if self.output is not None:
            object.__setattr__(self, 'output', Path(self.output))
        check_choice('--classifier', self.classifier, KINDS)
        check_choice('--group-by', self.group_by, GROUPS)
        check_choice('--rule', self.rule, RULES)
        check_choice('--choose', self.choose, MEASURES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument('segments', nargs='+', type=Path, help='folders made by `segments`')
    data = parser.add_argument_group('data')
    data.add_argument('--split', help='fit only on images of this split; default all')
    data.add_argument(
        '--threshold',
        type=float,
        nargs='+',
        dest='thresholds',
        metavar='THRESHOLD',
        help='default: all that were extracted',
    )
    data.add_argument('--test', nargs='+', type=Path, help='held-out segments')
    data.add_argument('--baseline', nargs='+', type=Path, help='same, network before OoD training')
    data.add_argument('--baseline-test', nargs='+', type=Path, help='same, of --test')
    data.add_argument(
        '--test-part', nargs='+', metavar='WORD',
        help='judge the test images whose name begins so separately, too',
    )  # fmt: skip
    data.add_argument('--max-segments', type=int, help='whole images are drawn')
    data.add_argument('--min-object-px', type=int, help='smaller objects may be missed')
    data.add_argument(
        '--drop-incomplete', action='store_true', help='leave out segments with NaN metrics'
    )
    method = parser.add_argument_group('method')
    method.add_argument('--classifier', choices=KINDS, help='goes in the bundle')
    method.add_argument(
        '--only', action='store_true', help='no comparison with the others, no Algorithm 1'
    )
    method.add_argument('--strength', type=float, help='C of logistic regression')
    method.add_argument('--epochs', type=int, help='of the neural network')
    for name, of in (('trees', 'of gradient boosting'), ('leaves', 'of each of its trees')):
        method.add_argument(
            f'--{name}', type=int, nargs='+', metavar='NUMBER', help=f'{of}, to choose from'
        )
    method.add_argument('--leaky-scaler', action='store_true', help='published order of z-scores')
    method.add_argument('--folds', type=int, help='of the cross-validation')
    method.add_argument(
        '--group-by',
        choices=GROUPS,
        help='group: sequence block and pasted object together, leaks least; split: each '
        '`segments --split` is left out on its own, as a domain never seen',
    )
    method.add_argument(
        '--ignore-metric', nargs='+', dest='ignored_metrics', metavar='METRIC',
        help='not used, such as centroid_*',
    )  # fmt: skip
    method.add_argument(
        '--gap',
        type=float,
        metavar='SHARE',
        help='of a block next to a held-out one: not fitted on either; default 0.2',
    )
    method.add_argument('--rule', choices=RULES, help='of the meta threshold')
    method.add_argument('--bound', type=float, help='of max_missed and max_false')
    method.add_argument(
        '--no-calibration', action='store_true', help='probabilities as the classifier gives them'
    )
    method.add_argument(
        '--leave-one-out-network', action='store_true', help='one training a segment: minutes'
    )
    method.add_argument('--seed', type=int)
    output = parser.add_argument_group('output')
    output.add_argument('--bundle', default='', help='the network; default: the installed bundle')
    output.add_argument('--output', type=Path, help='bundle to write; default: none')
    output.add_argument('--report', type=Path, help='folder')
    add_overwrite(output)
    output.add_argument(
        '--entropy-threshold', type=float, help='what the bundle uses; default: see --choose'
    )
    output.add_argument(
        '--core-threshold',
        type=float,
        nargs='+',
        metavar='THRESHOLD',
        help='where the bundle cuts accepted segments, 0 nowhere; of several --choose takes one; '
        'default: as in --bundle',
    )
    output.add_argument(
        '--choose',
        choices=MEASURES,
        help='how the entropy (and core) threshold of the bundle is chosen',
    )
    output.add_argument(
        '--metric-counts',
        type=int,
        nargs='*',
        help='N of Algorithm 1; nothing leaves it out',
    )
    output.add_argument('--explain', nargs='*', metavar='IMAGE', help='why, for each')
    set_defaults(parser, FitMetaOptions)
