"""`meta-ood-train fit-meta`: the command line of `fit_meta`."""

import argparse
import sys

from meta_ood_training.meta.options import add_arguments as add_arguments
from meta_ood_training.meta.reporting.summary import summarize
from meta_ood_training.output_places import check_free
from meta_ood_training.provenance.command_line import describe_command

NOTHING_FITTED = 4
"""Exit status where no classifier could be fitted, at any threshold or at that wanted."""


def run(arguments: argparse.Namespace) -> int:
    """Fit, and say where report and bundle lie."""
    from meta_ood_training.meta.fitted_bundle import fit_meta

    options = dict(vars(arguments))
    overwrite = options.pop('overwrite')
    if arguments.output is not None and arguments.output.is_dir():  # a file has its own error
        check_free(arguments.output, overwrite=overwrite)
    result = fit_meta(**options, progress=True, command=describe_command(sys.argv[1:]))
    print(summarize(result.report))
    print(f'report: {result.report_file}')
    if result.bundle is None:
        print(f'meta-ood-train fit-meta: {result.problem}', file=sys.stderr)
        return NOTHING_FITTED
    print(result.chosen)
    if result.output is not None:
        print(f'bundle: {result.output} ({result.bundle.model_id})')
    return 0
