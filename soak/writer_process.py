"""A writer in a process of its own: forked from one that has imported everything, then ended."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
import os
from pathlib import Path
import shutil
import signal
import sys
import time
from typing import Any

from meta_ood_training.cli import main as run_verb

from soak.written import Writer, WRITERS

_PATIENCE = 120.0


class WriterProcess:
    """A writer at work."""

    def __init__(self, process: Any, log: Path) -> None:
        self.process = process
        self.log = log
        self.begun = time.monotonic()

    def finish(self) -> float:
        """Wait for its good end; return how long it took."""
        self.process.join(_PATIENCE)
        if self.process.exitcode != 0:
            said = self.log.read_text(errors='replace').strip().splitlines()[-1:]
            raise ValueError(f'a repeat ends with {self.process.exitcode}: {" ".join(said)[:300]}')
        return time.monotonic() - self.begun

    def end(self, number: int, seconds: float, has_begun: Callable[[], bool] | None) -> bool:
        """Send a signal after a time, counted from a moment; return whether it came in time."""
        if has_begun is not None:
            while self.process.is_alive() and not has_begun():
                time.sleep(0.001)
        self.process.join(seconds)
        is_in_time = bool(self.process.is_alive())
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)
        self.process.join(_PATIENCE)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise ValueError(f'signal {number} did not end it')
        return is_in_time


def start(processes: Any, writer: Writer, place: Path, version: int) -> WriterProcess:
    log = place.parent / 'log.txt'
    if writer.is_once and (place / 'run' / 'final.pth').exists():
        shutil.rmtree(place / 'run')
    if writer.is_once and (place / 'pasted').exists():
        shutil.rmtree(place / 'pasted')
    process = processes.Process(target=_work, args=(writer.name, str(place), version, str(log)))
    process.start()
    return WriterProcess(process, log)


def _work(name: str, place: str, version: int, log: str) -> None:
    """Run a writer, as a command would."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    writer = next(one for one in WRITERS if one.name == name)
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    os.chdir(place)
    if writer.words is None:
        assert writer.call is not None
        writer.call(Path(place), version)
        return
    words = writer.words(Path(place), version)
    sys.argv = ['meta-ood-train', *words]
    sys.exit(run_verb(words))
