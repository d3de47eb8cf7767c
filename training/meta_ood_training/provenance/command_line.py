"""The command that made a result, as others can type it."""

from collections.abc import Sequence
from pathlib import PurePath


def describe_command(words: Sequence[str]) -> str:
    """
    Return a command line without the folders of this machine.

    Parameters
    ----------
    words : sequence of str
        Arguments behind `meta-ood-train`, as sys.argv[1:] has them.

    Returns
    -------
    str
        Absolute paths become <last part>, also behind '='; relative ones stay.

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
