"""The log of a run: weighted means, and rows that no full disk takes away."""

import csv
from importlib.util import find_spec

import cv2
from meta_ood_training.finetuning.loop import csv_rows, curves
from meta_ood_training.finetuning.loop.csv_rows import read_rows
from meta_ood_training.finetuning.loop.curves import Curves, draw_curves, smooth
from meta_ood_training.finetuning.loop.run_log import RunLog
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

    monkeypatch.setattr('meta_ood_ros.core.files.whole_files.os.fsync', fail)
    with pytest.raises(OSError, match=r'loss.csv must be written whole, got: No space left'):
        RunLog(tmp_path).on_train_start(Standing(1), None)
    assert (tmp_path / 'loss.csv').read_bytes() == rows.encode()
    assert [one.name for one in tmp_path.iterdir()] == ['loss.csv']


def test_a_log_of_an_earlier_version_goes_on(tmp_path):
    (tmp_path / 'loss.csv').write_text(OLD + '0,0,1,1,0,0.1\r\n1,1,1,1,3,0.1\r\n', newline='')
    RunLog(tmp_path).on_train_start(Standing(1), None)
    row = dict(zip(NEW.strip().split(','), (2, 1, 1.0, 1.0, '', 9, 0, 0.1), strict=True))
    csv_rows.append_row(tmp_path / 'loss.csv', list(row), row)
    rows = read_rows(tmp_path / 'loss.csv')
    assert [(one['batch'], one['l_out'], one['ood_px']) for one in rows] == [
        ('0', '0', ''),
        ('1', '3', ''),
        ('2', '', '0'),
    ]
    values, pixels = curves._read_term(rows, 'l_out')
    # neither the old 0 nor the empty cell is a mean
    assert (values.tolist(), pixels.tolist()) == ([0, 3, 0], [0, 1, 0])
    assert draw_curves(tmp_path).read_bytes().startswith(b'\x89PNG')
    with (tmp_path / 'loss.csv').open(newline='') as stream:
        assert len({len(line) for line in csv.reader(stream)}) == 1


def write_log(folder, precision=(0.01, 0.02)):
    rows = [f'{number},{number},1,1,3,8,1,0.1\r\n' for number in range(3)]
    (folder / 'loss.csv').write_text(NEW + ''.join(rows), newline='')
    scores = 'step,average_precision,fpr95,auroc,prevalence,mean_iou\r\n'
    scores += ''.join(f'{step},{one},0.5,0.5,0.005,0.3\r\n' for step, one in enumerate(precision))
    (folder / 'validation.csv').write_text(scores, newline='')


def test_a_small_average_precision_is_seen(tmp_path):
    def middle(precision):
        write_log(tmp_path, precision)
        picture = cv2.imread(str(draw_curves(tmp_path)))
        return picture[:, picture.shape[1] // 3 : 2 * picture.shape[1] // 3].astype(int)

    # on an axis to 1 a hundredth is three pixels; on its own most of the curve moves
    assert (np.abs(middle((0.01, 0.02)) - middle((0.01, 0.01))).max(2) > 60).sum() > 300


def test_the_figure_is_drawn_while_the_run_goes_on_and_no_oftener_than_said(tmp_path, monkeypatch):
    clock, drawn = [0.0], []
    monkeypatch.setattr(curves.time, 'monotonic', lambda: clock[0])

    def draw(output):
        drawn.append(clock[0])
        clock[0] += 10.0  # slow: so the next is 200 s later

    monkeypatch.setattr(curves, 'draw_curves', draw)
    figure = Curves(tmp_path)
    for second in (0, 59, 61, 100, 270, 272, 300):
        clock[0] = max(clock[0], second)
        figure.draw_now_and_then()
    assert drawn == [61, 272]


@pytest.mark.parametrize('error', [RuntimeError('no font'), OSError(28, 'No space left')])
def test_a_figure_that_fails_loses_nothing_and_is_said_once(tmp_path, monkeypatch, caplog, error):
    write_log(tmp_path)
    draw_curves(tmp_path)
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}

    def fail(figure, stream, **_):
        stream.write(b'half of a picture')
        raise error

    monkeypatch.setattr('matplotlib.figure.Figure.savefig', fail)
    log = RunLog(tmp_path)
    log.on_train_end(Standing(3), None)
    log.on_exception(Standing(3), None, KeyboardInterrupt())
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before
    (said,) = [record.getMessage() for record in caplog.records]
    assert 'curves.png is not drawn: ' in said
    assert 'No space left' in said or 'no font' in said


def test_events_are_written_where_tensorboard_is_installed(tmp_path):
    writer = curves.open_tensorboard(tmp_path, 0)
    curves.add_scalars(writer, 'training', {'l_in': '0.25', 'l_out': ''}, 4)
    if find_spec('tensorboard') is None:
        assert writer is None
        assert list(tmp_path.iterdir()) == []
        pytest.skip('tensorboard is not installed')
    writer.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / 'tensorboard'))
    events.Reload()
    assert events.Tags()['scalars'] == ['training/l_in']
    assert [(one.step, one.value) for one in events.Scalars('training/l_in')] == [(4, 0.25)]
