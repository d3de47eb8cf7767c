"""Segments of an interrupted run: what was done is kept, and the whole is that of one run."""

import os
from pathlib import Path
import signal
import subprocess
import sys

import cv2
from meta_ood_training import cli
from meta_ood_training.output_places import hold_folder
from meta_ood_training.segments import pieces
from meta_ood_training.segments.extraction import SegmentExtractor
from meta_ood_training.segments.segment_folder import extract_segments
from meta_ood_training.segments.table import read_sidecar, read_table, TABLES
import numpy as np
import pytest

KILLED = """
import os, signal, sys
from meta_ood_training import cli
from meta_ood_training.segments import pieces
from meta_ood_training.segments.extraction import SegmentExtractor
pieces._PIECE_SECONDS = -1.0
extract, calls = SegmentExtractor.__call__, []
def stop(self, frame, number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return extract(self, frame, number)
SegmentExtractor.__call__ = stop
cli.main(sys.argv[1:])
"""


@pytest.fixture(scope='module')
def frames(tmp_path_factory):
    """Write five frames with a bright object each in the plain layout."""
    root = tmp_path_factory.mktemp('frames')
    for kind in ('images', 'labels'):
        (root / kind).mkdir()
    for seed in range(5):
        image = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        label = np.zeros((48, 64), np.uint8)
        label[8 + seed : 24, 8:40] = 254
        cv2.imwrite(str(root / 'images' / f'{seed}.png'), image)
        cv2.imwrite(str(root / 'labels' / f'{seed}.png'), label)
    return root


@pytest.fixture
def words(frames, small_bundle):
    return [
        *('--bundle', str(small_bundle), '--data', f'folder={frames}'),
        *('--threshold', '0.3', '0.6', '--device', 'cpu'),
    ]


@pytest.fixture(scope='module')
def whole(frames, small_bundle, tmp_path_factory):
    """Extract without an interruption."""
    place = tmp_path_factory.mktemp('whole') / 'rows'
    extract_segments(
        place, bundle=small_bundle, data=f'folder={frames}', thresholds=[0.3, 0.6], device='cpu'
    )
    return place


@pytest.fixture
def seen(monkeypatch):
    """Note which frames the network sees, and stop before the one that is set."""
    extract = SegmentExtractor.__call__
    noted = {'frames': [], 'stop': None, 'error': KeyboardInterrupt}

    def call(self, frame, number):
        if number == noted['stop']:
            raise noted['error']
        noted['frames'].append(number)
        return extract(self, frame, number)

    monkeypatch.setattr(SegmentExtractor, '__call__', call)
    return noted


def same_tables(one, other):
    for table in TABLES:
        assert read_table([one], table).equals(read_table([other], table)), table
    sizes = [read_sidecar(place)['rows_of_part_0'] for place in (one, other)]
    assert sizes[0] == sizes[1]


def hidden_beside(place):
    return [one.name for one in place.parent.iterdir() if one.name.startswith('.')]


def test_a_killed_run_goes_on_where_it_was(tmp_path, words, whole, seen):
    place = tmp_path / 'rows'
    command = [sys.executable, '-c', KILLED, 'segments', str(place), *words]
    done = subprocess.run(command, env=os.environ, capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGKILL
    assert not place.exists()
    assert hidden_beside(place) == ['.rows.pieces']
    damaged = place.parent / '.rows.pieces' / '00000-of-00001' / '00001'
    (damaged / 'segments-00000-of-00001.parquet').write_bytes(b'PAR1')  # the power was cut, too
    assert cli.main(['segments', str(place), *words, '--resume']) == 0
    assert seen['frames'] == [1, 3, 4]
    same_tables(place, whole)
    assert hidden_beside(place) == []


def test_ctrl_c_says_the_command_that_goes_on(tmp_path, words, whole, seen, capsys):
    place = tmp_path / 'my rows'
    seen['stop'] = 2
    assert cli.main(['segments', str(place), *words]) == cli.INTERRUPTED
    said = capsys.readouterr().err
    assert f"To go on: meta-ood-train segments '{place}' --bundle " in said
    assert said.rstrip().endswith('--resume')
    assert cli.main(['segments', str(place), *words]) == cli.WRONG_USE
    assert 'must be a folder without an unfinished run, got' in capsys.readouterr().err
    other = ['--threshold', '0.4']
    assert cli.main(['segments', str(place), *words, *other, '--resume']) == cli.WRONG_USE
    said = capsys.readouterr().err
    assert 'must go on as the run was begun, with thresholds [0.3, 0.6], got [0.4]' in said
    seen['stop'] = None
    assert cli.main(['segments', str(place), *words, '--resume']) == 0
    assert seen['frames'] == [0, 1, 2, 3, 4]
    same_tables(place, whole)


def test_begun_anew_with_overwrite_nothing_of_the_first_is_left(tmp_path, words, whole, seen):
    place = tmp_path / 'rows'
    seen['stop'] = 3
    cli.main(['segments', str(place), *words, '--threshold', '0.5'])
    seen['stop'] = None
    assert cli.main(['segments', str(place), *words, '--overwrite']) == 0
    assert seen['frames'] == [0, 1, 2, 0, 1, 2, 3, 4]
    same_tables(place, whole)
    assert hidden_beside(place) == []
    # finished: there is nothing to go on with, and nothing is replaced untold
    assert cli.main(['segments', str(place), *words, '--resume']) == cli.WRONG_USE
    seen['stop'] = 1
    assert cli.main(['segments', str(place), *words, '--overwrite']) == cli.INTERRUPTED
    same_tables(place, whole)
    seen['stop'] = None
    assert cli.main(['segments', str(place), *words, '--resume']) == 0
    same_tables(place, whole)


def test_an_error_before_the_first_image_leaves_nothing(tmp_path, words, seen):
    seen |= {'stop': 0, 'error': ValueError('labels must be something else')}
    assert cli.main(['segments', str(tmp_path / 'rows'), *words]) == cli.WRONG_USE
    assert list(tmp_path.iterdir()) == []


def test_two_processes_do_not_write_into_one_folder(tmp_path, words, capsys):
    place = tmp_path / 'rows'
    with hold_folder(pieces._of_process(place, 0, 1)):
        assert cli.main(['segments', str(place), *words]) == cli.WRONG_USE
    said = capsys.readouterr().err
    assert f'output must be of one process, got {str(place)!r}, into which another' in said


def test_each_of_several_processes_goes_on_with_its_own(tmp_path, words, whole, seen, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    place = tmp_path / 'rows'
    seen['stop'] = 3
    monkeypatch.setenv('RANK', '1')
    assert cli.main(['segments', str(place), *words]) == cli.INTERRUPTED
    seen['stop'] = None
    for rank in ('0', '1'):
        monkeypatch.setenv('RANK', rank)
        assert cli.main(['segments', str(place), *words, '--resume']) == 0
    assert seen['frames'] == [1, 0, 2, 4, 3]
    for table in TABLES:
        assert read_table([place], table).equals(read_table([whole], table)), table
    assert not Path(tmp_path / '.rows.pieces').exists()
