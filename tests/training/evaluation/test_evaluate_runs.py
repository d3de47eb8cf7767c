"""`evaluate` as it is run: by two processes, killed and resumed, with a damaged file."""

import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import cv2
from meta_ood_training.cli import main
from meta_ood_training.datasets import OOD
import numpy as np
import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[3]
FRAMES = 6


@pytest.fixture
def data(tmp_path):
    """Write six frames with an object each."""
    rng = np.random.default_rng(0)
    for part in ('images', 'labels'):
        (tmp_path / 'data' / part).mkdir(parents=True)
    for number in range(FRAMES):
        target = np.zeros((48, 64), np.uint8)
        target[10 : 20 + number, 20:40] = OOD
        image = rng.integers(0, 255, (48, 64, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f'data/images/{number}.png'), image)
        cv2.imwrite(str(tmp_path / f'data/labels/{number}.png'), target)
    return tmp_path / 'data'


def words(bundle, data, output):
    return [
        'evaluate',
        *('--bundle', f'net={bundle}'),
        *('--data', f'street:folder={data}'),
        *('--draws', '20'),
        *('--work-short-side', '64'),
        *('--backend', 'eager'),
        *('--output', str(output)),
    ]


@pytest.fixture(autouse=True)
def one_thread():
    """Sum in the order of the processes that torchrun starts, which have one thread each."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def environment():
    paths = f'{REPOSITORY}:{REPOSITORY / "training"}'
    return {**os.environ, 'PYTHONPATH': paths, 'OMP_NUM_THREADS': '1'}


def results(output):
    return json.loads((output / 'scores.json').read_text())['results']


@pytest.mark.slow
@pytest.mark.parametrize(
    ('options', 'file', 'keys', 'row'),
    [
        ([], 'scores.json', ['results'], '| street | 6 | net | entropy |'),
        (
            ['--segments', '--decision', 'a=0.5:0', '--decision', 'b=0.9:0', '--gallery', '1'],
            'segments.json',
            ['decisions', 'differences'],
            '| street | 6 | net | a | 0.5 |',
        ),
    ],
)
def test_two_ranks_give_the_numbers_of_one(small_bundle, data, tmp_path, options, file, keys, row):
    assert main([*words(small_bundle, data, tmp_path / 'one'), *options]) == 0
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    done = subprocess.run(
        [
            *torchrun,
            *('--nproc-per-node', '2', '-m', 'meta_ood_training.cli'),
            *words(small_bundle, data, tmp_path / 'two'),
            *options,
        ],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count(row) == 1  # only one of them prints
    one, two = (json.loads((tmp_path / name / file).read_text()) for name in ('one', 'two'))
    assert {key: two[key] for key in keys} == {key: one[key] for key in keys}
    assert (one['processes'], two['processes']) == (1, 2)
    assert {each.name for each in (tmp_path / 'two').iterdir()} == {
        each.name for each in (tmp_path / 'one').iterdir()
    }
    assert not (tmp_path / 'two/unfinished').exists()


@pytest.mark.slow
def test_a_killed_evaluation_is_resumed(small_bundle, data, tmp_path, capsys):
    output = tmp_path / 'out'
    program = f"""
import sys, time
from meta_ood_training.cli import main
from meta_ood_training.evaluation import frame_walk
from meta_ood_training.evaluation.prediction import Predictor
frame_walk.KEEP_EVERY_S = 0
predict, seen = Predictor.__call__, []
def slow(self, image):
    seen.append(image)
    if len(seen) == 4:
        time.sleep(300)
    return predict(self, image)
Predictor.__call__ = slow
sys.exit(main({words(small_bundle, data, output)!r}))
"""
    process = subprocess.Popen([sys.executable, '-c', program], env=environment())
    try:
        start = time.monotonic()
        while not _counted(output, 3):
            assert process.poll() is None
            assert time.monotonic() - start < 120
            time.sleep(0.2)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (output / 'scores.json').exists()
    again = words(small_bundle, data, output)
    assert main(again) == 2
    assert 'must be new, got' in capsys.readouterr().err
    assert main([*again[:-4], '--work-short-side', '32', *again[-2:], '--resume']) == 2
    assert '--resume must go on as the run was begun, with ' in capsys.readouterr().err
    assert main([*again, '--resume']) == 0
    assert main(words(small_bundle, data, tmp_path / 'whole')) == 0
    assert results(output) == results(tmp_path / 'whole')
    capsys.readouterr()
    assert main([*again, '--resume']) == 2
    assert 'of an interrupted evaluation, got none' in capsys.readouterr().err


def _counted(output, frames):
    for file in (output / 'unfinished').glob('*.npz') if output.is_dir() else ():
        if not file.name.startswith('.'):
            with np.load(file) as counts:
                return int(counts['.done']) >= frames
    return False


def test_a_damaged_file_is_named_and_the_status_says_so(small_bundle, data, tmp_path, capsys):
    (data / 'images/2.png').write_bytes(b'no image')
    assert main(words(small_bundle, data, tmp_path / 'out')) == 3
    captured = capsys.readouterr()
    assert '| street | 5 | net | entropy |' in captured.out
    assert 'skipped 2 of street: ' in captured.err
    report = json.loads((tmp_path / 'out/scores.json').read_text())
    assert list(report['skipped']) == ['street']
    assert '2.png' in report['skipped']['street']['2']


def test_a_damaged_file_is_skipped_among_segments_too(small_bundle, data, tmp_path, capsys):
    (data / 'labels/4.png').write_bytes(b'no image')
    segments = ['--segments', '--gallery', '6']
    assert main([*words(small_bundle, data, tmp_path / 'out'), *segments]) == 3
    assert 'skipped 4 of street: ' in capsys.readouterr().err
    report = json.loads((tmp_path / 'out/segments.json').read_text())
    assert report['decisions'][0]['images'] == 5
    assert '4.png' in report['skipped']['street']['4']
    for number in range(3):
        (data / f'labels/{number}.png').write_bytes(b'no image')
    assert main([*words(small_bundle, data, tmp_path / 'no'), *segments]) == 2
    assert 'must be readable but for a few frames, got 4 of 6' in capsys.readouterr().err
