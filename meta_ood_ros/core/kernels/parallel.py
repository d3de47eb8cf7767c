"""Rows of an image -> all cores, through plain threads that run kernels without the GIL."""

from collections.abc import Callable
import itertools
import threading
from typing import TypeVar

import torch

Result = TypeVar('Result')


def count_workers(chunks: int) -> int:
    """
    Return how many threads are worth starting for a number of chunks of work.

    Returns
    -------
    int
        At least 1, at most torch.get_num_threads(), the one setting for torch and for us.

    """
    return max(1, min(torch.get_num_threads(), chunks))


def run_workers(work: Callable[[int], Result], workers: int) -> list[Result]:
    """
    Call work(0), ..., work(workers - 1), each in its own thread, and wait for all of them.

    Parameters
    ----------
    work : callable
        Gets the number of the worker. It must release the GIL to gain anything.

    Notes
    -----
    The threads live for one call: starting one takes about 50 us, and no pool can then be left
    behind in a forked child (data loaders fork) or hang an interpreter that exits.

    """
    results: dict[int, Result] = {}
    errors: list[BaseException] = []

    def run(worker: int) -> None:
        try:
            results[worker] = work(worker)
        except BaseException as error:
            errors.append(error)

    helpers = [
        threading.Thread(target=run, args=(worker,), daemon=True) for worker in range(1, workers)
    ]
    for helper in helpers:
        helper.start()
    run(0)
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[0]
    return [results[worker] for worker in range(workers)]


def run_over_rows(
    work: Callable[[int, int], Result], rows: int, *, rows_per_chunk: int
) -> list[Result]:
    """
    Call work(first, last) until all rows are done, on torch.get_num_threads() threads.

    Parameters
    ----------
    rows_per_chunk : int
        How many a thread takes at a time. Chunks are handed out as threads become free, because
        other processes take cores away.

    """
    chunks = -(-rows // rows_per_chunk)
    next_chunk = itertools.count()
    results: list[Result] = []

    def drain(_: int) -> None:
        # next() on a count is one C call, so two threads never get the same chunk
        while (chunk := next(next_chunk)) < chunks:
            first = chunk * rows_per_chunk
            results.append(work(first, min(first + rows_per_chunk, rows)))

    run_workers(drain, count_workers(chunks))
    return results
