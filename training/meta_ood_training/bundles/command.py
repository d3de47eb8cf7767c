"""
`meta-ood-train bundle`: make, list, describe and try bundles.

Exit status of `verify`: 0 where every bundle works, 1 where one does not.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
import sys

from meta_ood_training.output_places import add_overwrite, check_free

EXPORT = 'export'
BROKEN = 1
"""Exit status of `verify` where a bundle does not work."""


def prepare(words: Sequence[str]) -> list[str]:
    """Take options without a sub-verb for those of `export`, the only one there once was."""
    is_export = bool(words) and words[0].startswith('-') and words[0] not in ('-h', '--help')
    return [EXPORT, *words] if is_export else list(words)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verbs."""
    verbs = parser.add_subparsers(dest='action', metavar='VERB', required=True)

    def add(name: str, purpose: str) -> argparse.ArgumentParser:
        return verbs.add_parser(
            name,
            help=purpose,
            description=purpose[0].upper() + purpose[1:] + '.',
            formatter_class=parser.formatter_class,
            allow_abbrev=False,
        )

    _add_export(add(EXPORT, 'turn checkpoints into a bundle (also without this word)'))
    add('list', 'list the installed bundles')
    info = add('info', 'print classes, sizes, thresholds, provenance and scores of a bundle')
    info.add_argument('bundle', help='name of an installed one, or a directory')
    verify = add('verify', 'check the sums of bundles, load them, run each network once')
    verify.add_argument('bundles', nargs='+', metavar='BUNDLE', help='names or directories')
    verify.add_argument('--device', default='auto', help='cpu, cuda, cuda:N or auto')
    verify.add_argument('--backend', default='auto', help='how the network runs')
    verify.add_argument('--precision', default='auto', help='precision of the network')
    _add_import(add('import-onnx', "make a bundle of one's own network in an ONNX file"))
    onnx = add('export-onnx', 'write the network of a bundle as an ONNX file')
    onnx.add_argument('bundle', help='name of an installed one, or a directory')
    onnx.add_argument('--output', type=Path, required=True, help='the .onnx file')
    onnx.add_argument('--size', metavar='HxW', help='of the input [px], which the file fixes')
    add_overwrite(onnx)


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--checkpoint',
        type=Path,
        nargs='+',
        required=True,
        help='of finetune, or published; the weights of several runs are averaged',
    )
    parser.add_argument('--output', type=Path, required=True, help='directory of the bundle')
    parser.add_argument('--name', help='of the bundle; default: that of the directory')
    parser.add_argument(
        '--architecture', metavar='NAME', help='espnet_v2, ... for a checkpoint that does not say'
    )
    parser.add_argument(
        '--argument',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        help='of the architecture, such as scale=2.0',
    )
    parser.add_argument(
        '--classes', type=Path, metavar='FILE', help='a classes.yaml; default as the run says'
    )
    parser.add_argument('--entropy-threshold', type=float, help='in (0, 1]; default as the run')
    parser.add_argument('--work-short-side', type=int, help='px; default as the run')
    _add_terms(parser)
    parser.add_argument(
        '--scores', type=Path, action='append', default=[], metavar='JSON', help='to state in it'
    )
    parser.add_argument(
        '--half', action='store_true', help='store float16, if that changes no entropy by 0.01'
    )
    parser.add_argument(
        '--mix-head',
        action='store_true',
        help='make the outlier head of the run a decoder of the network, not a file beside it',
    )
    parser.add_argument(
        '--start', type=Path, help='what the runs began at, to move the weights back towards'
    )
    parser.add_argument(
        '--start-share', type=float, default=0.0, help='share of --start in the result, in [0, 1]'
    )
    add_overwrite(parser)


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('file', type=Path, help='float32 image (N, 3, h0, w0) in, logits out')
    parser.add_argument('--output', type=Path, required=True, help='directory of the bundle')
    parser.add_argument(
        '--classes', type=Path, required=True, help='classes.yaml, in the order of the outputs'
    )
    for option in ('--mean', '--std'):
        parser.add_argument(
            option,
            type=float,
            nargs=3,
            required=True,
            metavar=('R', 'G', 'B'),
            help='of RGB values in [0, 1], as the network was trained',
        )
    parser.add_argument('--name', help='of the bundle; default: that of the directory')
    parser.add_argument('--stride', type=int, default=32, help='of which sides are multiples')
    parser.add_argument(
        '--align-corners', action='store_true', help='scale the logits as the network was trained'
    )
    parser.add_argument(
        '--work-short-side',
        type=int,
        default=0,
        help='px, 64 to 4096; 0 takes images as they come',
    )
    parser.add_argument('--entropy-threshold', type=float, default=0.5, help='in (0, 1]')
    _add_terms(parser)
    add_overwrite(parser)


def _add_terms(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--licence', metavar='TEXT', help='of the weights; asked for')
    parser.add_argument(
        '--data-terms', metavar='TEXT', help='terms of the training data; asked for'
    )


def run(arguments: argparse.Namespace) -> int:
    """Do what the sub-verb says."""
    return _ACTIONS[arguments.action](arguments)


def _export(arguments: argparse.Namespace) -> int:
    from meta_ood_training.bundles.export import export_bundle
    from meta_ood_training.finetuning.config_reader import read_value

    check_free(arguments.output, overwrite=arguments.overwrite)
    values = {}
    for one in arguments.argument:
        key, _, text = one.partition('=')
        values[key] = read_value(text, one) if text else None
    given = dict(vars(arguments), arguments=values)
    for name in ('action', 'argument', 'overwrite'):
        given.pop(name)
    result = export_bundle(**given)
    if result.half_difference is not None:
        print(
            f'float16 weights change no entropy of a scene by more than '
            f'{result.half_difference:.1e}'
        )
    print(f'{result.bundle.model_id} in {result.path}, {result.size / 1e6:.1f} MB. {_NEXT}')
    return 0


_NEXT = 'Next: meta-ood-train fit-meta'


def _list(_: argparse.Namespace) -> int:
    from meta_ood_training.bundles.inspection import list_bundles

    for name, described in list_bundles():
        print(f'{name}: {described}')
    return 0


def _info(arguments: argparse.Namespace) -> int:
    from meta_ood_training.bundles.inspection import describe_bundle

    print(describe_bundle(arguments.bundle))
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from meta_ood_training.bundles.inspection import verify_bundle

    status = 0
    for one in arguments.bundles:
        try:
            found = verify_bundle(
                one,
                device=arguments.device,
                backend=arguments.backend,
                precision=arguments.precision,
            )
        except (ValueError, OSError) as error:
            print(f'{one}: {error}', file=sys.stderr)
            status = BROKEN
            continue
        height, width = found.work_size
        print(
            f'{one}: OK, {found.bundle.model_id}, {found.backend} at {height} x {width} px, '
            f'entropy differs from PyTorch by at most {found.check.largest_difference:.1e}'
        )
    return status


def _import(arguments: argparse.Namespace) -> int:
    from meta_ood_training.bundles.onnx_files import import_onnx

    check_free(arguments.output, overwrite=arguments.overwrite)
    given = dict(vars(arguments))
    for name in ('action', 'overwrite'):
        given.pop(name)
    result = import_onnx(**given)
    print(f'{result.bundle.model_id} in {result.path}, {result.size / 1e6:.1f} MB. {_NEXT}')
    return 0


def _export_onnx(arguments: argparse.Namespace) -> int:
    from meta_ood_training.bundles.onnx_files import export_onnx
    from meta_ood_training.plain_arguments import parse_size

    check_free(arguments.output, overwrite=arguments.overwrite)
    size = parse_size(arguments.size, option='--size')
    difference = export_onnx(arguments.bundle, arguments.output, size=size)
    print(f'{arguments.output}: entropy differs from PyTorch by at most {difference:.1e}')
    return 0


_ACTIONS = {
    EXPORT: _export,
    'list': _list,
    'info': _info,
    'verify': _verify,
    'import-onnx': _import,
    'export-onnx': _export_onnx,
}
