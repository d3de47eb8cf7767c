"""Decoding and writing in threads beside the network: what does both lets go of the GIL."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar('T')


def read_ahead(items: Iterator[T], depth: int) -> Iterator[T]:
    """Yield the items, of which another thread prepares as many as `depth` in advance."""
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix='read') as pool:
        waiting: deque[Future[Any]] = deque(pool.submit(next, items, end) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, items, end))
                yield item
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class WriteBehind:
    """Calls functions in threads; at most `depth` calls wait, and an error of one is raised."""

    def __init__(self, threads: int, depth: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix='write')
        self._depth = depth
        self._waiting: deque[Future[Any]] = deque()

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function soon."""
        while len(self._waiting) >= self._depth:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(function, *arguments))

    def __enter__(self) -> WriteBehind:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for all that was begun."""
        self._pool.shutdown(wait=True)
        if error is None:
            for one in self._waiting:
                one.result()
