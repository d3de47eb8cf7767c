"""Work spread over threads: everything once, errors not lost."""

import threading

from meta_ood_ros.core.kernels.parallel import count_workers, run_over_rows, run_workers
import pytest
import torch


@pytest.fixture(params=[1, 3])
def threads(request, monkeypatch):
    monkeypatch.setattr(torch, 'get_num_threads', lambda: request.param)
    return request.param


@pytest.mark.parametrize(('rows', 'rows_per_chunk'), [(0, 4), (1, 4), (8, 4), (9, 4), (100, 7)])
def test_each_row_is_worked_on_once(threads, rows, rows_per_chunk):
    parts = run_over_rows(lambda a, b: range(a, b), rows, rows_per_chunk=rows_per_chunk)
    assert sorted(row for part in parts for row in part) == list(range(rows))


def test_results_come_in_the_order_of_the_workers(threads):
    assert run_workers(lambda worker: worker**2, 5) == [0, 1, 4, 9, 16]


def test_workers_run_at_the_same_time():
    barrier = threading.Barrier(3, timeout=10)
    assert run_workers(lambda worker: barrier.wait() >= 0, 3) == [True] * 3


def test_an_error_reaches_the_caller(threads):
    def fail(first, last):
        raise ValueError(f'rows {first} to {last}')

    with pytest.raises(ValueError, match='rows'):
        run_over_rows(fail, 20, rows_per_chunk=2)


def test_workers_are_never_more_than_chunks_or_threads(threads):
    assert count_workers(0) == 1
    assert count_workers(2) == min(2, threads)
    assert count_workers(50) == threads
