"""
Trials in a process of their own whose memory and time are bounded.

A room with such trials has `make_trial() -> (number, seed) -> outcome`; what a trial raises is a
defect, and so is a process that ends before its work is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
import faulthandler
from importlib import import_module
import json
import os
from pathlib import Path
import resource
import signal
import subprocess
import sys
from tempfile import TemporaryFile
import traceback
from types import FrameType
from typing import Any

#: What any single message, file or transition may take beyond the program itself.
MEMORY_BYTES = 1_200_000_000
SECONDS = 30
_BEGIN_SECONDS = 300
_MOST_CRASHES = 5
_GUARD_BYTES = 6_000_000_000
"""More than that is not even tried: the machine has other work."""


def run_trials(room: str, what: str, count: int, seed: int) -> list[tuple[str, str]]:
    """Run the trials of a room; return rows, with one that begins with 'DEFECT' for each kind."""
    found: Counter[str] = Counter()
    defects: dict[str, str] = {}
    most, number = 0, 0
    while number < count:
        for one in _attempt(room, number, count, seed):
            number = one['number'] + 1
            most = max(most, one['memory'])
            found[one['outcome']] += 1
            if one['trouble']:
                defects.setdefault(one['trouble'], f'number {one["number"]}')
        if number < count:
            # It ended before its work was done: whatever came next killed it.
            found['crash'] += 1
            defects.setdefault('the process ended', f'number {number}')
            number += 1
        if found['crash'] > _MOST_CRASHES:
            break
    outcomes = ', '.join(f'{much} {name}' for name, much in sorted(found.items()))
    return [
        (what, f'{number}: {outcomes}; {len(defects)} kinds of defects'),
        (f'most memory, {what}', f'{most / 1e6:.0f} MB (bound {MEMORY_BYTES / 1e6:.0f})'),
        *((f'DEFECT at {where} of {what}, seed {seed}', text) for text, where in defects.items()),
    ]


def _attempt(room: str, first: int, count: int, seed: int) -> Iterator[dict[str, Any]]:
    words = [room, str(first), str(count), str(seed)]
    with (
        TemporaryFile('w+', errors='replace') as said,  # decoders complain about every image
        subprocess.Popen(
            [sys.executable, '-m', 'soak.bounded', *words],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            cwd=Path(__file__).parents[1],
        ) as process,
    ):
        for line in process.stdout or ():
            yield json.loads(line)
        if process.wait():
            said.seek(0)
            print(said.read()[-3000:], file=sys.stderr)


def _work(room: str, first: int, count: int, seed: int) -> None:
    """Run trials; print an outcome a line."""
    faulthandler.enable()
    lines = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # what libraries print is no outcome
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(_BEGIN_SECONDS)
    trial = import_module(room).make_trial()
    trial(first, seed)  # what it loads once is not the message's
    signal.alarm(0)
    size = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + _GUARD_BYTES,) * 2)
    for number in range(first, count):
        Path('/proc/self/clear_refs').write_text('5')  # the peak begins anew
        before = _memory('VmRSS')
        outcome, trouble = 'defect', ''
        signal.alarm(SECONDS)
        try:
            outcome = trial(number, seed)
        except Exception:  # whatever it is, it is what is looked for
            place = traceback.extract_tb(sys.exc_info()[2])[-1]
            text = traceback.format_exc(limit=0).strip().splitlines()[-1][:200]
            trouble = f'{text} at {Path(place.filename).name}:{place.lineno}'
        finally:
            signal.alarm(0)
        memory = _memory('VmHWM') - before
        if memory > MEMORY_BYTES:
            trouble = trouble or f'{outcome}, but it took {memory / 1e6:.0f} MB'
        described = {'number': number, 'outcome': outcome, 'trouble': trouble, 'memory': memory}
        print(json.dumps(described), file=lines, flush=True)
    lines.flush()
    os._exit(0)  # threads of ROS may linger


def _memory(key: str) -> int:
    text = Path('/proc/self/status').read_text()
    return 1024 * int(text.split(f'{key}:')[1].split()[0])


def _too_long(_: int, __: FrameType | None) -> None:
    raise TimeoutError('not done in time')


if __name__ == '__main__':
    _work(sys.argv[1], *map(int, sys.argv[2:]))
