"""F1 of components in the table of all methods: a second pass at each method's best threshold."""

import json
import math

import cv2
from meta_ood_training.cli import main
from meta_ood_training.datasets import Folder, IGNORED, OOD
from meta_ood_training.evaluation import evaluate
from meta_ood_training.evaluation.bench.run import evaluate_methods
import numpy as np
import pytest

SIZE = (64, 96)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Write four frames with a dark block, one damaged, and void at the top."""
    folder = tmp_path_factory.mktemp('frames')
    for part in ('images', 'labels'):
        (folder / part).mkdir()
    for number in range(4):
        rng = np.random.default_rng(number)
        image = cv2.GaussianBlur(rng.integers(60, 256, (*SIZE, 3), dtype=np.uint8), (0, 0), 2)
        target = np.zeros(SIZE, np.uint8)
        target[:2] = IGNORED
        image[20:44, 30:60] //= 4
        target[20:44, 30:60] = OOD
        cv2.imwrite(str(folder / f'images/{number}.png'), image)
        cv2.imwrite(str(folder / f'labels/{number}.png'), target)
    (folder / 'labels/2.png').write_bytes(b'no image')
    return folder


def test_f1_is_that_of_evaluate_and_every_method_has_one(data, small_bundle, tmp_path):
    common = {'bundles': {'net': small_bundle}, 'draws': 0, 'device': 'cpu'}
    found = evaluate_methods(
        f'folder={data}', methods='entropy,msp'.split(','), components='obstacle_track',
        output=tmp_path / 'out', **common,
    )  # fmt: skip
    alone = evaluate(
        f'folder={data}', scores='entropy', components='obstacle_track', backend='eager', **common
    )
    expected = alone.report['components'][0]
    assert expected['decision'] == 'best F1 of pixels'
    rows = {row.method: row for row in found.ranked['folder']}
    assert rows['entropy'].f1 == pytest.approx(expected['f1'], abs=1e-6)
    assert 0 <= rows['msp'].f1 <= 1
    assert f'{rows["entropy"].f1:.3f}' in found.table
    record = json.loads((tmp_path / 'out/methods.json').read_text())
    assert record['components'] == 'obstacle_track'
    assert {row['method']: row['f1'] for row in record['ranking']['folder']} == {
        name: pytest.approx(row.f1) for name, row in rows.items()
    }
    assert list(record['skipped']['folder']) == ['2']
    assert not (tmp_path / 'out/unfinished').exists()


def test_without_the_option_there_is_no_f1_and_no_second_pass(data, small_bundle, monkeypatch):
    read = []
    whole = Folder.__getitem__
    monkeypatch.setattr(
        Folder, '__getitem__', lambda self, index: (read.append(index), whole(self, index))[1]
    )
    found = evaluate_methods(
        f'folder={data}', methods=['entropy'], bundles=small_bundle, draws=0, device='cpu'
    )
    assert all(math.isnan(row.f1) for row in found.ranked['folder'])
    assert read == [0, 1, 2, 3]


def test_the_verb_passes_the_rule_on_and_says_what_was_skipped(data, small_bundle, capsys):
    words = ['evaluate', '--bundle', str(small_bundle), '--data', f'folder={data}']
    options = ['--methods', 'msp', '--components', 'all', '--draws', '0', '--no-published']
    assert main([*words, *options]) == 3
    captured = capsys.readouterr()
    (row,) = [line for line in captured.out.splitlines() if line.startswith('| msp |')]
    assert 0 <= float(row.split('|')[6]) <= 1
    assert 'skipped 2 of folder: ' in captured.err
    with pytest.raises(ValueError, match="--components must be one of anomaly_track, .*got 'big'"):
        evaluate_methods(f'folder={data}', bundles=small_bundle, components='big')
