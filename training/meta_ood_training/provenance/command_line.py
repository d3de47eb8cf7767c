"""The command that made a result, as others can type it."""

from collections.abc import Sequence
from pathlib import PurePath


def describe_command(words: Sequence[str]) -> str:
    """
    Return a command line without the folders of this machine.

    Examples
    --------
    >>> describe_command(['segments', '/data/out', '--data', 'folder=/data/overlay', 'runs/a'])
    'meta-ood-train segments <out> --data folder=<overlay> runs/a'

    """
    return ' '.join(['meta-ood-train', *map(_shorten, words)])


def _shorten(word: str) -> str:
    key, equals, value = word.rpartition('=')
    path = PurePath(value)
    return f'{key}{equals}<{path.name}>' if path.is_absolute() else word
