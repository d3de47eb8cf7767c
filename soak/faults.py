"""A network that raises, answers NaN or hangs, at random -> counted, said, and the node lives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
import random
from tempfile import mkdtemp
import threading
from typing import Any

from meta_ood_ros.messages.conversions import to_image
import numpy as np
import torch

from soak.bounded import run_trials
from soak.live_node import LiveNode, new_header, SIZE, wait_for

_FAULTS = ('raise', 'memory', 'nan', 'inf', 'shape', 'hang', 'none', 'none')
_MAX_FAILURES = 4


def run(count: int, seed: int) -> list[tuple[str, str]]:
    """Put so many frames through a network that fails at random."""
    return run_trials('soak.faults', 'frames with a faulty network', count, seed)


class _Faulty:
    """The real backend of the node with a fault in front of it."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.fault = 'none'
        self.gate = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __call__(self, x: torch.Tensor) -> Any:
        if self.fault == 'raise':
            raise RuntimeError('the network broke')
        if self.fault == 'memory':
            raise MemoryError('out of memory')
        if self.fault == 'hang':
            self.gate.wait(20)
        logits = self._real(x)
        if self.fault in ('nan', 'inf'):
            logits = torch.full_like(logits, float(self.fault))
        return logits[:, :, :1, 0] if self.fault == 'shape' else logits


def make_trial() -> Callable[[int, int], str]:
    """Return what sends a frame to the node while its network has the fault of a number."""
    node = LiveNode(Path(mkdtemp(prefix='soak')), max_age=0.0, max_failures=_MAX_FAILURES)
    node.listen()
    if node.do('configure') != 'success':
        raise RuntimeError('the node cannot be configured')
    backend = node.session.pipeline.backend = _Faulty(node.session.pipeline.backend)
    in_a_row: Counter[str] = Counter()

    def trial(number: int, seed: int) -> str:
        fault = random.Random(f'{seed} {number}').choice(_FAULTS)
        if node.state == 'inactive':
            if node.do('activate') != 'success':
                raise AssertionError('it cannot be activated again')
            in_a_row.clear()
            node.connect('')
        backend.fault = fault
        backend.gate.clear()
        message = to_image(new_header(), np.full((*SIZE, 3), 90, np.uint8), 'rgb8')
        before, failed = node.settled(), node.counts().dropped['failed']
        node.camera().publish(message)
        if fault == 'hang':  # meanwhile the node can be asked
            backend.gate.wait(0.2)
            if node.call(node.node.get_parameter, 'max_age').value != 0.0 or (
                node.settled() > before
            ):
                raise AssertionError('a network that hangs holds the node up')
            backend.gate.set()
        wait_for(lambda: node.settled() > before)
        is_fault = fault not in ('none', 'hang')
        if (node.counts().dropped['failed'] > failed) != is_fault:
            raise AssertionError(f'{fault}: {node.counts()}')
        in_a_row['failures'] = in_a_row['failures'] + 1 if is_fault else 0
        if in_a_row['failures'] == _MAX_FAILURES:
            wait_for(lambda: node.state == 'inactive')
            return f'{fault}, and deactivated itself'
        if not is_fault:
            wait_for(lambda: any(one.header == message.header for one in node.answers))
        return fault

    return trial
