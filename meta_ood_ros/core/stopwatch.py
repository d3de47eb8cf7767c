"""How long each stage of an image takes."""

from collections.abc import Iterator
from contextlib import contextmanager
import time


class Stopwatch:
    """Times of the stages of one image, in the order in which they ran."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Measure the block as this stage; a stage in two blocks is their sum."""
        start = time.perf_counter()
        yield
        milliseconds = 1000.0 * (time.perf_counter() - start)
        self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + milliseconds
