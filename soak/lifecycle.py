"""
Random walks through the states of the real node, with frames on the way.

What must hold: a transition succeeds where its state allows it and fails elsewhere, an active node
answers, an unconfigured one keeps no worker, and memory does not grow with the walks.
"""

from __future__ import annotations

from collections import Counter
import gc
from pathlib import Path
import random
import subprocess
import sys
import threading
from typing import Any

import numpy as np

#: MB a walk.
MOST_GROWTH = 0.1
_MOVES = {
    ('unconfigured', 'configure'): 'inactive',
    ('inactive', 'activate'): 'active',
    ('inactive', 'cleanup'): 'unconfigured',
    ('active', 'deactivate'): 'inactive',
}
_NAMES = ('configure', 'activate', 'deactivate', 'cleanup')
_STEPS = (2, 7)
_WARM_WALKS = 20
"""So many walks fill caches and pools; the slope is taken after them."""


def run(count: int, seed: int) -> list[tuple[str, str]]:
    """Make so many walks in a process of its own."""
    done = subprocess.run(
        [sys.executable, '-m', 'soak.lifecycle', str(count), str(seed)],
        cwd=Path(__file__).parents[1],
        text=True,
        stdout=subprocess.PIPE,
    )
    parts = (line.partition('\t') for line in done.stdout.splitlines())
    rows = [(what, much) for what, tab, much in parts if tab]
    if done.returncode:
        rows.append((f'DEFECT of lifecycle walks, seed {seed}', f'ended with {done.returncode}'))
    return rows


def _walk_all(count: int, seed: int) -> list[tuple[str, str]]:
    from tempfile import TemporaryDirectory

    from soak.live_node import LiveNode

    dice = random.Random(f'{seed} lifecycle')
    seen: Counter[str] = Counter()
    defects: dict[str, str] = {}
    megabytes = []
    with TemporaryDirectory() as folder:
        node = LiveNode(Path(folder), max_age=0.0)
        node.listen()
        for number in range(count):
            try:
                _walk(node, dice, seen)
            except Exception as error:  # whatever it is, it is what is looked for
                defects.setdefault(f'{type(error).__name__}: {error}'[:300], f'walk {number}')
                if node.state not in ('unconfigured', 'inactive', 'active'):
                    break
            gc.collect()
            megabytes.append(_resident())
        node.close()
    warm = megabytes[min(_WARM_WALKS, len(megabytes) // 2) :]
    slope = float(np.polyfit(np.arange(len(warm)), warm, 1)[0]) if len(warm) > 2 else 0.0
    is_long = len(warm) >= 5 * _WARM_WALKS  # fewer say nothing about 0.1 MB
    if is_long and slope > MOST_GROWTH:
        defects[f'memory grows by {slope:.2f} MB a walk'] = 'all walks'
    return [
        (
            'lifecycle walks',
            f'{len(megabytes)}, {seen["transition"]} transitions and {seen["refused"]} refused as '
            f'they must be, {seen["answered"]} times asked for an answer; {len(defects)} defects',
        ),
        (
            'memory of the walks',
            f'{slope:+.3f} MB a walk over the last {len(warm)} (bound {MOST_GROWTH})',
        ),
        *((f'DEFECT in {where}, seed {seed}', text) for text, where in defects.items()),
    ]


def _walk(node: Any, dice: random.Random, seen: Counter[str]) -> None:
    """Go a few random steps, then home; half of the random steps are ones the state allows."""
    steps = dice.randint(*_STEPS)
    for step in range(steps + 3):
        state = node.state
        allowed = [name for name in _NAMES if (state, name) in _MOVES]
        if step < steps:
            name = dice.choice(allowed if dice.random() < 0.7 else _NAMES)
        elif state == 'unconfigured':
            break
        else:
            name = allowed[-1]
        _move(node, state, name, seen)
        if node.state == 'active' and dice.random() < 0.3:
            if not node.answers_one():
                raise AssertionError('the active node does not answer')
            seen['answered'] += 1
    if node.state != 'unconfigured':
        raise AssertionError(f'home is unconfigured, this is {node.state}')
    left = [one.name for one in threading.enumerate() if one.name.startswith('meta_ood')]
    if left or node.session is not None:
        raise AssertionError(f'after cleanup there are still {left or "a session"}')


def _move(node: Any, state: str, name: str, seen: Counter[str]) -> None:
    target = _MOVES.get((state, name))
    try:
        ended = node.do(name)
    except Exception as error:  # rclpy's own refusal of a transition that does not exist
        if target is not None or 'ransition' not in str(error):
            raise
        ended = 'refused'
    if (ended == 'success') != (target is not None) or node.state != (target or state):
        raise AssertionError(f'{name} from {state} ended as {ended} in {node.state}')
    seen['transition' if target else 'refused'] += 1


def _resident() -> float:
    text = Path('/proc/self/status').read_text()
    return int(text.split('VmRSS:')[1].split()[0]) / 1024


if __name__ == '__main__':
    for row in _walk_all(*map(int, sys.argv[1:])):
        print('\t'.join(row), flush=True)
