"""
Bursts of frames of two cameras faster than a slow network, bad ones among them.

What must hold: received = processed + dropped + idle, an answer to each processed frame with its
header and to no other, and none older than max_age and one inference.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import random
from tempfile import mkdtemp
import time
from typing import Any

from meta_ood_ros.messages.conversions import to_image
import numpy as np
from rclpy.parameter import Parameter
import torch

from soak.bounded import run_trials
from soak.live_node import LiveNode, new_header, SIZE, wait_for

_CAMERAS = ('front', 'rear')
_BURST = 20
_SECONDS = 0.03
"""What the network takes longer than it would, so that frames have to wait."""
_REST = 0.2
"""Seconds for all but the network: decoding, segments, sending, and a machine that is busy."""


def run(count: int, seed: int) -> list[tuple[str, str]]:
    """Send so many bursts."""
    return run_trials('soak.frames', f'bursts of {_BURST} frames', count, seed)


class _Slow:
    """The real backend of the node, slower, with its longest time."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.longest = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __call__(self, x: torch.Tensor) -> Any:
        start = time.monotonic()
        time.sleep(_SECONDS)
        logits = self._real(x)
        self.longest = max(self.longest, time.monotonic() - start)
        return logits


def make_trial() -> Callable[[int, int], str]:
    """Return what sends the burst of a number."""
    node = LiveNode(Path(mkdtemp(prefix='soak')), cameras=list(_CAMERAS), max_failures=1000)
    for name in _CAMERAS:
        node.listen(name)
    if (node.do('configure'), node.do('activate')) != ('success', 'success'):
        raise RuntimeError('the node cannot be started')
    backend = node.session.pipeline.backend = _Slow(node.session.pipeline.backend)
    node.connect(*_CAMERAS)

    def trial(number: int, seed: int) -> str:
        dice = random.Random(f'{seed} {number}')
        max_age = dice.choice((0.0, 0.02, 0.1, 0.5))
        live = [
            Parameter('max_age', value=max_age),
            Parameter('max_rate', value=dice.choice((0.0, 0.0, 20.0, 5.0))),
        ]
        if not all(one.successful for one in node.call(node.node.set_parameters, live)):
            raise AssertionError('max_age or max_rate was refused')
        records = [node.session._cameras[name].record for name in _CAMERAS]
        for record in records:
            record.milliseconds.clear()
        node.answers.clear()
        backend.longest = 0.0
        before = {name: _snapshot(node, name) for name in _CAMERAS}
        sent = {_stamp(_send(node, dice)) for _ in range(_BURST)}
        wait_for(lambda: _is_quiet(node))
        gained = {name: _snapshot(node, name) - before[name] for name in _CAMERAS}
        processed = sum(int(one[1]) for one in gained.values())
        wait_for(lambda: len(node.answers) >= processed)
        stamps = [_stamp(one.header) for one in node.answers]
        if len(stamps) != processed or len(set(stamps)) != processed or not set(stamps) <= sent:
            raise AssertionError(f'{processed} processed, {len(stamps)} answers')
        for name, (received, *parts) in gained.items():
            if received != sum(parts):
                raise AssertionError(f'{name}: {received} received, {parts} accounted for')
        ages = [1e-3 * one['total'] for record in records for one in record.milliseconds]
        # One network call of its own, and one of the frame that is sent before it.
        most = max_age + 2 * backend.longest + _REST
        if max_age and ages and max(ages) > most:
            raise AssertionError(f'an answer is {max(ages):.2f} s old, at most {most:.2f} s')
        return 'all accounted for' if processed else 'all accounted for, none in time'

    return trial


def _send(node: LiveNode, dice: random.Random) -> Any:
    """Send a frame, bad one time in six, and return its header."""
    message = to_image(new_header(), np.full((*SIZE, 3), 90, np.uint8), 'rgb8')
    if dice.random() < 1 / 6:
        message.step += 1
    node.camera(dice.choice(_CAMERAS)).publish(message)
    time.sleep(dice.choice((0.0, 0.0, 0.005, 0.04)))
    return message.header


def _stamp(header: Any) -> tuple[int, int]:
    return header.stamp.sec, header.stamp.nanosec


def _snapshot(node: LiveNode, name: str) -> np.ndarray:
    """Return received, processed, idle, dropped."""
    counts = node.counts(name)
    return np.array([counts.received, counts.processed, counts.idle, counts.dropped_total])


def _is_quiet(node: LiveNode) -> bool:
    """Return whether nothing waits, and nothing more comes for a while."""
    before = [_snapshot(node, name) for name in _CAMERAS]
    time.sleep(0.15)
    after = [_snapshot(node, name) for name in _CAMERAS]
    return all(one[0] == one[1:].sum() for one in after) and np.array_equal(before, after)
