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
        """Measure the block as this stage."""
        start = time.perf_counter()
        yield
        self.milliseconds[stage] = 1000.0 * (time.perf_counter() - start)
