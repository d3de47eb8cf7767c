"""`meta-ood-train <verb>`: one module a verb, imported only when it is asked for."""

import argparse
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
import os
import re
import shlex
import sys
from typing import NoReturn

from meta_ood_ros import __version__
from meta_ood_training.output_places import check_launcher

VERBS = {
    'finetune': ('finetuning.command', 'train a network for high entropy on OoD objects'),
    'segments': ('segments.command', 'write segment metrics and targets of images or bags'),
    'fit-meta': ('meta.command', 'fit, judge and explain meta classifiers'),
    'evaluate': ('evaluation.command', 'score a bundle on data sets'),
    'fit-score': ('evaluation.fit_command', 'fit an OoD score that needs it, and keep it'),
    'overlay': (
        'overlays.command',
        'paste OoD objects on street frames: a test set with exact labels',
    ),
    'resynthesis': (
        'methods.resynthesis.command',
        'train the image generator and the networks of the resynthesis scores',
    ),
    'predict': (
        'prediction.command',
        'write pictures and segments of images, a video or a bag, as the node finds them',
    ),
    'adapt': (
        'adaptation.command',
        'adapt a bundle to recordings of a new domain that nobody has labelled',
    ),
    'bundle': (
        'bundles.command',
        'make a bundle of checkpoints or an ONNX file; list, describe, verify bundles',
    ),
}
"""Verb -> (module of meta_ood_training, what it does)."""

INSTALL = {
    'meta_ood_ros': 'The package meta_ood is not installed: source the install/setup.bash of its '
    'workspace, or, where there is no ROS, run `pip install .` in the folder that holds its '
    'setup.py.',
}
"""What to do about a module that is missing where that is more than installing a package."""

PACKAGES = {
    'cv2': 'opencv-python-headless',
    'faiss': 'faiss-cpu',
    'google': 'protobuf',
    'sklearn': 'scikit-learn',
    'yaml': 'PyYAML',
}
"""Module -> the package that brings it, where the names differ."""

WRONG_USE = 2
"""Exit status after a mistake in the arguments or the data."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells give it."""


class DefaultsFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults but those that say nothing, such as None or an empty list."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        if default is None or default is False or default in ('', []):
            return action.help
        return super()._get_help_string(action)


class NearestParser(argparse.ArgumentParser):
    """An argument parser that names the nearest option to an unknown one."""

    def parse_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """Return the parsed arguments, or exit naming the nearest known option."""
        # Words such as key=value behind another one may stand anywhere between options.
        words = [one for one in self._actions if not one.option_strings]
        anywhere = len(words) > 1 or any(one.nargs == '?' for one in words)
        parse = self.parse_known_intermixed_args if anywhere else self.parse_known_args
        parsed, unknown = parse(args, namespace)
        if unknown:
            options = self._known_options(parsed)
            nearest = get_close_matches(unknown[0].split('=')[0], options, 1, 0.4)
            hint = f' Did you mean {nearest[0]}?' if nearest else ''
            self.error(f'unknown argument {unknown[0]!r}.{hint} --help lists all.')
        return parsed

    def _known_options(self, parsed: argparse.Namespace) -> list[str]:
        """Return the options of the verb, and of the sub-verb that was chosen."""
        options: list[str] = []
        for action in self._actions:
            options += action.option_strings
            if isinstance(action, argparse._SubParsersAction):
                chosen = action.choices.get(str(getattr(parsed, action.dest, None)))
                options += [] if chosen is None else chosen._known_options(parsed)
        return options

    def error(self, message: str) -> NoReturn:
        """Print one sentence and exit."""
        self.exit(WRONG_USE, f'{self.prog}: {message}\n')


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one verb.

    Returns
    -------
    int
        Exit status: 0 well, 2 wrong arguments or data, 130 interrupted, else as the verb says.

    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = words[:1] == ['--debug']
    if debug:
        words = words[1:]
    if words[:1] == ['--version']:
        print(f'meta-ood-train {__version__}')
        return 0
    if not words or words[0] in ('-h', '--help'):
        print(_usage())
        return 0 if words else WRONG_USE
    verb, rest = words[0], words[1:]
    if verb not in VERBS:
        nearest = get_close_matches(verb, VERBS, 1, 0.4)
        hint = f' Did you mean {nearest[0]!r}?' if nearest else ''
        return _complain(f'verb must be one of {", ".join(VERBS)}, got {verb!r}.{hint}')
    name, purpose = VERBS[verb]
    try:
        module = import_module(f'meta_ood_training.{name}')
    except ModuleNotFoundError as error:
        if debug:
            raise
        return _explain_missing(verb, error)
    parser = NearestParser(
        prog=f'meta-ood-train {verb}',
        description=purpose[0].upper() + purpose[1:] + '.',
        formatter_class=DefaultsFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    words = getattr(module, 'prepare', list)(rest)
    parsed: argparse.Namespace | None = None
    try:
        parsed = parser.parse_args(words)
        check_launcher(os.environ)
        return int(module.run(parsed) or 0)
    except (ValueError, OSError, ModuleNotFoundError, KeyboardInterrupt) as error:
        if debug:
            raise
        resumes = any('--resume' in action.option_strings for action in parser._actions)
        if resumes and parsed is not None:
            resumes = getattr(module, 'can_resume', lambda _: True)(parsed)
        return _explain(verb, error, rest, resumes=resumes)


def _explain(verb: str, error: BaseException, words: Sequence[str], *, resumes: bool) -> int:
    """Say in one sentence what ended a verb, and return its exit status."""
    if isinstance(error, ModuleNotFoundError):
        return _explain_missing(verb, error)
    if not isinstance(error, KeyboardInterrupt):
        return _complain(f'{verb}: {error}')
    after = 'What stood there before is unchanged.'
    if resumes:
        again = [*words, *['--resume'] * ('--resume' not in words)]
        after = f'To go on: {shlex.join(["meta-ood-train", verb, *again])}'
    _complain(f'{verb}: interrupted. {after}')
    return INTERRUPTED


def _usage() -> str:
    width = max(map(len, VERBS))
    lines = ['usage: meta-ood-train [--version] [--debug] <verb> [options]', '']
    lines += [f'  {verb:{width}}  {purpose}' for verb, (_, purpose) in VERBS.items()]
    return '\n'.join([*lines, '', '`meta-ood-train <verb> --help` lists the options of a verb.'])


def _explain_missing(verb: str, error: ModuleNotFoundError) -> int:
    return _complain(f'{verb} needs {error.name}, got no such module. {_advice(error.name)}')


def _advice(module: str | None) -> str:
    """Say what to install for a missing module."""
    top = re.split(r'\.', module or '')[0]
    package = PACKAGES.get(top, top)
    return INSTALL.get(
        top, f'Run `pip install {package}`; requirements.txt holds tested versions.'
    )


def _complain(message: str) -> int:
    print(f'meta-ood-train: {message}', file=sys.stderr)
    return WRONG_USE


if __name__ == '__main__':
    sys.exit(main())
