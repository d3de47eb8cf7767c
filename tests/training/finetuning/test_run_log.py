"""The log of a run: weighted means, and rows that no full disk takes away."""

import csv

from meta_ood_training.finetuning.loop import run_log
from meta_ood_training.finetuning.loop.run_log import draw_curves, read_rows, RunLog, smooth
import numpy as np
import pytest

OLD = 'batch,step,loss,l_in,l_out,learning_rate\r\n'
NEW = 'batch,step,loss,l_in,l_out,in_distribution_px,ood_px,learning_rate\r\n'


class Standing:
    """Of a trainer, what the log asks: where a run begins."""

    is_global_zero = True
    accumulate_grad_batches = 2

    def __init__(self, step):
        self.global_step = step


def test_smoothing_weighs_each_batch_by_its_pixels():
    values, weights = np.array([3.0, 0, 0, 6.0, 0]), np.array([1.0, 0, 0, 3.0, 0])
    expected = [3.0, np.nan, 6.0, 6.0]
    np.testing.assert_array_equal(smooth(values, weights, 2), expected)
    np.testing.assert_array_equal(smooth(values, weights, 5), [(3 + 3 * 6) / 4])


def test_a_log_with_nothing_to_drop_is_not_written_again(tmp_path):
    rows = NEW + '0,0,1,1,,9,0,0.1\r\n1,1,1,1,3,8,1,0.1\r\n'
    (tmp_path / 'loss.csv').write_text(rows, newline='')
    before = (tmp_path / 'loss.csv').stat()
    RunLog(tmp_path).on_train_start(Standing(1), None)
    after = (tmp_path / 'loss.csv').stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_rows_beyond_the_beginning_and_a_cut_row_are_dropped(tmp_path):
    kept = NEW + '0,0,1,1,,9,0,0.1\r\n1,1,1,1,3,8,1,0.1\r\n'
    for end in ('2,1,1,1,3,8,1,0.1\r\n', '2,1,1', '2,1,1,1,3,8,1,0.1,2,1\r\n'):
        (tmp_path / 'loss.csv').write_text(kept + end, newline='')
        RunLog(tmp_path).on_train_start(Standing(1), None)
        assert (tmp_path / 'loss.csv').read_bytes() == kept.encode()
    RunLog(tmp_path).on_train_start(Standing(0), None)
    assert (tmp_path / 'loss.csv').read_bytes() == b''


def test_a_full_disk_leaves_the_rows_that_are_there(tmp_path, monkeypatch):
    rows = NEW + '0,0,1,1,,9,0,0.1\r\n1,1,1,1,3,8,1,0.1\r\n2,1,1,1,3,8,1,0.1\r\n'
    (tmp_path / 'loss.csv').write_text(rows, newline='')

    def fail(_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('meta_ood_ros.core.whole_files.os.fsync', fail)
    with pytest.raises(OSError, match=r'loss.csv must be written whole, got: No space left'):
        RunLog(tmp_path).on_train_start(Standing(1), None)
    assert (tmp_path / 'loss.csv').read_bytes() == rows.encode()
    assert [one.name for one in tmp_path.iterdir()] == ['loss.csv']


def test_a_log_of_an_earlier_version_goes_on(tmp_path):
    (tmp_path / 'loss.csv').write_text(OLD + '0,0,1,1,0,0.1\r\n1,1,1,1,3,0.1\r\n', newline='')
    RunLog(tmp_path).on_train_start(Standing(1), None)
    row = dict(zip(NEW.strip().split(','), (2, 1, 1.0, 1.0, '', 9, 0, 0.1), strict=True))
    run_log._append_row(tmp_path / 'loss.csv', list(row), row)
    rows = read_rows(tmp_path / 'loss.csv')
    assert [(one['batch'], one['l_out'], one['ood_px']) for one in rows] == [
        ('0', '0', ''),
        ('1', '3', ''),
        ('2', '', '0'),
    ]
    values, pixels = run_log._read_term(rows, 'l_out')
    # neither the old 0 nor the empty cell is a mean
    assert (values.tolist(), pixels.tolist()) == ([0, 3, 0], [0, 1, 0])
    assert draw_curves(tmp_path).read_bytes().startswith(b'\x89PNG')
    with (tmp_path / 'loss.csv').open(newline='') as stream:
        assert len({len(line) for line in csv.reader(stream)}) == 1
