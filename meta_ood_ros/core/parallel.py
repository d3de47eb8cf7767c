"""Rows of an image -> all cores, through plain threads that run kernels without the GIL."""

from collections.abc import Callable
import itertools
import threading

import torch


def run_over_rows(work: Callable[[int, int], None], rows: int, *, rows_per_chunk: int) -> None:
    """
    Call work(first, last) until all rows are done, on torch.get_num_threads() threads.

    Parameters
    ----------
    work : callable
        Handles the rows first..last-1. It must release the GIL to gain anything, and write only
        to its own rows.
    rows : int
        How many there are.
    rows_per_chunk : int
        How many a thread takes at a time. Chunks are handed out as threads become free, because
        OoD pixels crowd in few rows and other processes take cores away.

    Notes
    -----
    The threads live for one call: starting one takes about 50 us, and no pool can then be left
    behind in a forked child (data loaders fork) or hang an interpreter that exits.

    """
    chunks = -(-rows // rows_per_chunk)
    threads = min(torch.get_num_threads(), chunks)
    if threads <= 1:
        if rows > 0:
            work(0, rows)
        return
    next_chunk = itertools.count()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            # next() on a count is one C call, so two threads never get the same chunk
            while (chunk := next(next_chunk)) < chunks and not errors:
                first = chunk * rows_per_chunk
                work(first, min(first + rows_per_chunk, rows))
        except BaseException as error:
            errors.append(error)

    helpers = [threading.Thread(target=run, daemon=True) for _ in range(threads - 1)]
    for helper in helpers:
        helper.start()
    run()
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[0]
