"""`meta-ood-train fit-score`: the command line of `fit_score`."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument(
        'method', metavar='METHOD', help='a method that is fitted: see evaluate --list-methods'
    )
    parser.add_argument('--bundle', help='whose network it is fitted for (default: the installed)')
    parser.add_argument(
        '--data',
        action='append',
        required=True,
        metavar='[TITLE:]NAME=PATH',
        help='labelled streets to fit on; OoD pixels in them are not used',
    )
    parser.add_argument(
        '--ood-data',
        action='append',
        default=[],
        metavar='[TITLE:]NAME=PATH',
        help='frames with OoD pixels, for flow_regression',
    )
    parser.add_argument(
        '--output', type=Path, required=True, help='folder for what was fitted, one file a method'
    )
    parser.add_argument(
        '--limit', type=int, default=100, help='frames of each set, evenly spread, 0 all'
    )
    parser.add_argument('--embeddings', type=int, help='sampled from the frames, a layer')
    parser.add_argument(
        '--layer',
        action='append',
        dest='layers',
        metavar='MODULE',
        help='of the network, whose embeddings a flow fits; several, in the order of the data',
    )
    parser.add_argument('--iterations', type=int, help='of the fit of a flow')
    parser.add_argument(
        '--noise', type=float, help='step of the input towards likely embeddings [grey levels]'
    )
    parser.add_argument(
        '--work-short-side', type=int, help='short side of the work grid [px] (default: bundle)'
    )
    parser.add_argument('--seed', type=int, default=0, help='of whatever is drawn')
    parser.add_argument('--device', default='auto', help='cpu, cuda, cuda:N or auto')
    parser.add_argument(
        '--resume', action='store_true', help='go on with a fit that was stopped in --output'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace what was fitted in --output before'
    )


def run(arguments: argparse.Namespace) -> int:
    """Fit, and write what was fitted."""
    from meta_ood_training.evaluation.fit_score import fit_score

    given = vars(arguments)
    options = {
        name: tuple(given[name]) if name == 'layers' else given[name]
        for name in ('embeddings', 'layers', 'iterations', 'noise')
        if given[name] is not None
    }
    result = fit_score(
        arguments.method,
        arguments.data,
        output=arguments.output,
        bundle=arguments.bundle,
        ood_data=arguments.ood_data,
        limit=arguments.limit,
        work_short_side=arguments.work_short_side,
        device=arguments.device,
        seed=arguments.seed,
        overwrite=arguments.overwrite,
        resume=arguments.resume,
        tell=lambda line: print(line, flush=True),
        **options,
    )
    names = ', '.join(one.name for one in result.files)
    print(
        f'{arguments.method}: {result.frames} frames, {result.seconds:.0f} s, {names} '
        f'-> {arguments.output}'
    )
    return 0
