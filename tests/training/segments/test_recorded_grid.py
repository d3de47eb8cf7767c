"""Recorded segments must be those that the bundle would have found, and ids must be theirs."""

from dataclasses import replace
import importlib.util
from pathlib import Path

from meta_ood_ros.core.bundle_files import load_bundle, save_bundle
import numpy as np
import pytest

# loaded by path: with --import-mode=importlib a test cannot import the file beside it
_SPEC = importlib.util.spec_from_file_location(
    'recording', Path(__file__).with_name('recording.py')
)
recording = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(recording)
WORDS = [*recording.RECORDED, '--recorded-ids', '/ood/segment_ids']


@pytest.fixture(scope='module')
def larger(small_bundle, tmp_path_factory):
    """Save the small bundle for a work grid of 96 x 128 or so; the images are 64 x 96."""
    path = tmp_path_factory.mktemp('bundles') / 'larger'
    save_bundle(replace(load_bundle(small_bundle), work_short_side=96, min_size_px=9), path)
    return path


def extract(tmp_path, bundle, bag):
    return recording.extract(tmp_path / 'out', bundle, '--bag', bag, *WORDS)


def test_a_record_at_the_work_size_of_the_bundle_is_taken(larger, tmp_path):
    bag = recording.record_segments(tmp_path / 'bag', larger)
    assert extract(tmp_path, larger, bag) == 0
    rows = recording.read_table([tmp_path / 'out'], 'segments')
    assert min(rows['size'].to_pylist()) >= 9  # a metric: work pixels
    # received pixels are fewer
    assert sum(rows['size_px'].to_pylist()) < 0.6 * sum(rows['size'].to_pylist())


def test_a_record_at_another_work_size_is_refused(larger, tmp_path, capsys):
    bag = recording.record_segments(tmp_path / 'bag', larger, work_short_side=64)
    assert extract(tmp_path, larger, bag) == 2
    error = capsys.readouterr().err
    assert 'must be of the work size of the bundle, (96, 144) for images of (64, 96)' in error
    assert 'got (64, 96) at stamp' in error


def test_a_record_with_smaller_segments_than_the_bundle_is_refused(larger, tmp_path, capsys):
    bag = recording.record_segments(tmp_path / 'bag', larger, min_size_px=1)
    assert extract(tmp_path, larger, bag) == 2
    assert 'at least the 9 work pixels of the bundle (min_size_px), got' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('edit', 'said'),
    [
        (lambda drawn: drawn[:-2], 'got size (62, 96) for (64, 96) at stamp'),
        (lambda drawn: drawn * 0, 'got 0 for '),
        (lambda drawn: np.where(drawn == 0, drawn.max() + 1, drawn), ' for 0 pixels of segment '),
    ],
)
def test_ids_of_something_else_are_refused(small_bundle, tmp_path, capsys, edit, said):
    def as_ids(drawn):
        return edit(drawn).astype(np.uint16)

    bag = recording.record_segments(tmp_path / 'bag', small_bundle, edit_ids=as_ids)
    assert extract(tmp_path, small_bundle, bag) == 2
    error = capsys.readouterr().err
    assert 'segment ids must show the recorded segments, got ' in error
    assert said in error
