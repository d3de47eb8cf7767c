"""
The whole attack, one table, docs/reliability.md: `make soak`, `python -m soak [--short]`.

`--part messages=1000` runs that part alone, so many times; then no document is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib import import_module
import os
from pathlib import Path
import platform
import sys
import time

#: Part -> how often in the whole attack, and in the short form.
PARTS = {
    'messages': (20_000, 800),
    'parameters': (1500, 50),
    'lifecycle': (300, 6),
    'frames': (200, 6),
    'faults': (600, 30),
    'bundles': (600, 40),
    'bags': (1200, 60),
    'kills': (50, 1),
}
DOCUMENT = Path(__file__).parents[1] / 'docs' / 'reliability.md'
_HEAD = """# What was attacked, and what held

`make soak` runs the whole attack and writes this table; every part has a seed and can be run again
by itself, as in `.venv/bin/python -m soak --part bundles=100 --seed 1`. The counts are those that
were run. A message may take 1200 MB at most, a
walk through the states of the node may leave 0.1 MB, and whatever writes leaves the old or the new
as a whole. A row that begins with DEFECT says what did not hold.
"""


def run(part: str, count: int, seed: int) -> list[tuple[str, str]]:
    """Run one part; return its rows and the time it took."""
    start = time.monotonic()
    rows: list[tuple[str, str]] = import_module(f'soak.{part}').run(count, seed)
    return [*rows, (f'time of {part}', f'{time.monotonic() - start:.0f} s')]


def is_defect(row: tuple[str, str]) -> bool:
    """Return whether a row tells of something that did not hold."""
    return row[0].startswith('DEFECT')


def to_document(rows: Sequence[tuple[str, str]], seed: int) -> str:
    """Return the rows as a document with date and machine."""
    day = datetime.now(timezone.utc).date()
    machine = f'{os.cpu_count()} cores of a {platform.machine()} machine, {platform.system()}'
    lines = [_HEAD, f'{day}, seed {seed}, {machine}, Python {platform.python_version()}.', '']
    lines += ['| what | result |', '|---|---|']
    lines += [f'| {what} | {much.replace("|", "/")} |' for what, much in rows]
    return '\n'.join(lines) + '\n'


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where something did not hold."""
    parser = argparse.ArgumentParser(prog='python -m soak', description=__doc__.split('\n')[1])
    parser.add_argument('--short', action='store_true', help='two minutes, and no document')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--part', action='append', metavar='PART=COUNT', default=[])
    options = parser.parse_args(arguments)
    counts = {part: both[options.short] for part, both in PARTS.items()}
    if options.part:
        chosen = dict(one.partition('=')[::2] for one in options.part)
        if not set(chosen) <= set(PARTS):
            parser.error(f'--part must name one of {", ".join(PARTS)}, got {", ".join(chosen)}')
        counts = {part: int(count or counts[part]) for part, count in chosen.items()}
    rows: list[tuple[str, str]] = []
    for part, count in counts.items():
        for row in run(part, count, options.seed):
            rows.append(row)
            print(f'{row[0]:<45} | {row[1]}', flush=True)
    if not options.short and not options.part:
        # What is not of the table is written by hand, from the first heading below it on.
        _, mark, kept = DOCUMENT.read_text(encoding='utf-8').partition('\n## ')
        DOCUMENT.write_text(to_document(rows, options.seed) + mark + kept, encoding='utf-8')
    return int(any(is_defect(row) for row in rows))


if __name__ == '__main__':
    sys.exit(main())
