"""`meta-ood-train bundle`: the command line of `export_bundle`."""

import argparse
from pathlib import Path

from meta_ood_ros.core.networks import NETWORK_NAMES
from meta_ood_training.bundles.export import export_bundle
from meta_ood_training.finetuning.config_reader import read_value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument('--checkpoint', type=Path, required=True, help='of finetune, or published')
    parser.add_argument('--output', type=Path, required=True, help='directory of the bundle')
    parser.add_argument('--name', help='of the bundle; default as the run says, or the directory')
    parser.add_argument(
        '--architecture', choices=NETWORK_NAMES, help='for a checkpoint that does not say'
    )
    parser.add_argument(
        '--argument',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        help='of the architecture, such as scale=2.0',
    )
    parser.add_argument('--entropy-threshold', type=float, help='in (0, 1]; default as the run')
    parser.add_argument('--work-short-side', type=int, help='px; default as the run')
    parser.add_argument('--licence', help='of the weights; default as the run says')
    parser.add_argument('--data-terms', help='terms of the training data; default as the run says')
    parser.add_argument(
        '--scores', type=Path, action='append', default=[], metavar='JSON', help='to state in it'
    )
    parser.add_argument(
        '--half', action='store_true', help='store float16, if that changes no entropy by 0.01'
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the bundle."""
    values = {}
    for one in arguments.argument:
        key, _, text = one.partition('=')
        values[key] = read_value(text, one) if text else None
    result = export_bundle(
        arguments.checkpoint,
        arguments.output,
        name=arguments.name,
        architecture=arguments.architecture,
        arguments=values,
        entropy_threshold=arguments.entropy_threshold,
        work_short_side=arguments.work_short_side,
        licence=arguments.licence,
        data_terms=arguments.data_terms,
        scores=arguments.scores,
        half=arguments.half,
    )
    if result.half_difference is not None:
        print(
            f'float16 weights change no entropy of a scene by more than '
            f'{result.half_difference:.1e}'
        )
    print(
        f'{result.bundle.model_id} in {result.path}, {result.size / 1e6:.1f} MB. '
        'Next: meta-ood-train fit-meta'
    )
    return 0
