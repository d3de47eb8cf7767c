"""
The default bundle on 480x360 images beside two busy loops, and alone: how OpenMP's threads wait.

Two processes with the same pipeline answer in turns. In one OMP_WAIT_POLICY is PASSIVE, as the
package sets it when it is imported before torch; in the other torch is loaded first, and its
threads wait as they do by default.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, ExitStack
import os
import subprocess
import sys

from benchmarks.figures.comparison import Comparison, Options

TITLE = 'Beside a busy neighbour: 480x360 images, CPU'
LOOPS = 2
FRAMES = 2
TARGET = 1.5

#: Says the milliseconds a frame each time that it is asked.
PIPELINE = """
import sys, time
{first}
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.scenes import render_scene
pipeline = OodPipeline()
images = [render_scene(seed, size=(360, 480), ood_objects=2).image for seed in range({frames})]
for image in images:
    pipeline(image)
print('ready', flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    for image in images:
        pipeline(image)
    print((time.perf_counter() - start) * 1e3 / len(images), flush=True)
"""


class AnsweringPipeline:
    """A pipeline in a process of its own."""

    def __init__(self, *, is_passive: bool) -> None:
        program = PIPELINE.format(first='' if is_passive else 'import torch', frames=FRAMES)
        environment = {k: v for k, v in os.environ.items() if k != 'OMP_WAIT_POLICY'}
        self._process = subprocess.Popen(
            [sys.executable, '-c', program],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f'the pipeline ended with status {self._process.wait()}')
        return line

    def time(self) -> float:
        """Return how long a frame takes now, in milliseconds."""
        assert self._process.stdin is not None
        self._process.stdin.write('\n')
        self._process.stdin.flush()
        return float(self._read())

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Keep so many processes busy that do nothing."""
    loops = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def measure(options: Options) -> list[Comparison]:
    """Return a row beside the loops and one without them."""
    times: dict[tuple[int, bool], list[float]] = {}
    with ExitStack() as stack:
        pipelines = {}
        for is_passive in (True, False):
            pipelines[is_passive] = AnsweringPipeline(is_passive=is_passive)
            stack.callback(pipelines[is_passive].close)
        for _ in range(options.rounds):
            for count in (LOOPS, 0):
                with busy_loops(count):
                    for is_passive, pipeline in pipelines.items():
                        times.setdefault((count, is_passive), []).append(pipeline.time())
    return [
        Comparison(
            f'{f"beside {count} busy loops" if count else "alone"}, {FRAMES} images a round',
            'OMP_WAIT_POLICY=PASSIVE',
            'OMP_WAIT_POLICY unset',
            times[count, True],
            times[count, False],
            target=TARGET if count else None,
        )
        for count in (LOOPS, 0)
    ]
