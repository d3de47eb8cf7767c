"""
Kill whatever writes, at random moments: `python -m soak.kills [--count N] [--seed N]`.

Each writer runs in a process of its own and is ended by SIGKILL, now and then by SIGINT: half the
times anywhere in its run, half the times shortly after something new appears beside what it
writes. What stands there afterwards must be the old or the new as a whole, and a repeat must
succeed and leave nothing beside it.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
import multiprocessing
import os
from pathlib import Path
import random
import shutil
import signal
import sys
from tempfile import TemporaryDirectory
from typing import Any

from meta_ood_training.cli import VERBS

from soak.tiny_data import draw_all
from soak.writer_process import start
from soak.written import Version, Writer, WRITERS

_INTERRUPTS = 6
"""One in so many ends by SIGINT."""
_REPEATS = 5
"""After one in so many kills the writer runs undisturbed, and after the last."""
_SHORTLY = 0.05


_ALL = tuple(one.name for one in WRITERS)


def run(count: int, seed: int, *, writers: Sequence[str] = _ALL) -> list[tuple[str, str]]:
    """
    Kill each writer so many times.

    Returns
    -------
    list of (str, str)
        What, and how much; rows that begin with 'DEFECT' are absent where all is well.

    """
    processes = multiprocessing.get_context('forkserver')
    processes.set_forkserver_preload(
        ['soak.writer_process', *(f'meta_ood_training.{module}' for module, _ in VERBS.values())]
    )
    rows = []
    with TemporaryDirectory() as folder:
        draw_all(Path(folder))
        (Path(folder) / 'first').mkdir()
        start(processes, _SEGMENTS, Path(folder) / 'first', 0).finish()
        (Path(folder) / 'first' / 'rows').rename(Path(folder) / 'rows')
        for writer in WRITERS:
            if writer.name in writers:
                rows += _attack(processes, writer, Path(folder) / 'place', count, seed)
                shutil.rmtree(Path(folder) / 'place')
    return rows


_SEGMENTS = next(one for one in WRITERS if one.name == 'segments')


def _attack(
    processes: Any, writer: Writer, place: Path, count: int, seed: int
) -> list[tuple[str, str]]:
    dice = random.Random(f'{seed} {writer.name}')
    seen: Counter[str] = Counter()
    defects: dict[str, str] = {}
    place.mkdir()
    duration = start(processes, writer, place, 0).finish()
    version = 0
    for number in range(count):
        try:
            before = writer.read(place)
            version = 1 - version
            is_near = number % 2 == 1
            names = _names(place)
            seconds = dice.uniform(0, _SHORTLY if is_near else duration)
            kind = signal.SIGINT if number % _INTERRUPTS == _INTERRUPTS - 1 else signal.SIGKILL
            one = start(processes, writer, place, version)
            is_new = (lambda names=names: _names(place) != names) if is_near else None
            in_time = one.end(kind, seconds, is_new)
            after = writer.read(place)
            _check(before, after, version, writer)
            seen['in time' if in_time else 'too late'] += 1
            seen['new' if after != before else 'old'] += 1
            if number % _REPEATS == _REPEATS - 1 or number == count - 1:
                _repeat(processes, writer, place, version)
        except Exception as error:  # whatever a reader raises is a defect
            defects.setdefault(str(error)[:300], f'kill {number}, seed {seed}')
            shutil.rmtree(place)
            place.mkdir()
            start(processes, writer, place, 0).finish()
            version = 0
    return [
        (
            f'kills of {writer.name}',
            f'{count}, {seen["in time"]} before its end; {seen["old"]} left the old, '
            f'{seen["new"]} the new whole; {len(defects)} defects',
        ),
        *((f'DEFECT {writer.name}: {text}', where) for text, where in defects.items()),
    ]


def _check(before: Version, after: Version, version: int, writer: Writer) -> None:
    for was, now in zip(before, after, strict=True):
        if now != was and now != version and not writer.is_once:
            raise ValueError(f'neither the old {was} nor the new {version} is there, but {now}')


def _repeat(processes: Any, writer: Writer, place: Path, version: int) -> None:
    """Let the writer succeed once; nothing may be left beside what it has written."""
    if writer.is_once and None not in writer.read(place):
        shutil.rmtree(place)
        place.mkdir()
    start(processes, writer, place, version).finish()
    now = writer.read(place)
    if None in now or (set(now) != {version} and not writer.is_once):
        raise ValueError(f'a repeat left {now}, not {version}')
    left = [name for name in _names(place) if name.split('/')[-1].startswith('.')]
    if left:
        raise ValueError(f'a repeat left {", ".join(left[:3])} behind')
    if writer.is_once:
        shutil.rmtree(place)
        place.mkdir()


def _names(place: Path) -> frozenset[str]:
    """Return the names of all that stands in a place and one folder deeper."""
    names = set()
    with suppress(FileNotFoundError):
        for one in os.scandir(place):
            names.add(one.name)
            if one.is_dir():
                names |= {f'{one.name}/{inner}' for inner in os.listdir(one.path)}  # noqa: PTH208
    return frozenset(names)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows; 1 where there is a defect."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[1])
    parser.add_argument('--count', type=int, default=50, help='kills of each writer')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--writer', action='append', choices=[one.name for one in WRITERS])
    parsed = parser.parse_args(arguments)
    names = parsed.writer or [one.name for one in WRITERS]
    rows = run(parsed.count, parsed.seed, writers=names)
    for what, much in rows:
        print(f'{what}: {much}')
    return int(any(what.startswith('DEFECT') for what, _ in rows))


if __name__ == '__main__':
    sys.exit(main())
