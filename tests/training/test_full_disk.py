"""Every verb on a full disk: one sentence, an exit status, the old files whole."""

import errno
import os
import resource
import sys

from meta_ood_training import cli
from meta_ood_training.finetuning.loop.csv_rows import read_rows
import pytest

from soak.tiny_data import draw_all
from soak.written import WRITERS

VERBS = {one.name: one for one in WRITERS if one.words is not None}
SENTENCE = 'must be written whole, got: {}. What stood there before is unchanged: free some space'


def main(words):
    """Run a verb as its command does: what it writes states the command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['meta-ood-train', *words])
        return cli.main(words)


@pytest.fixture(scope='module')
def tiny_data(tmp_path_factory):
    """Draw what the verbs read; the segments as the verb extracts them."""
    folder = tmp_path_factory.mktemp('full')
    draw_all(folder)
    (folder / 'place').mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / 'place')
        assert main(VERBS['segments'].words(folder / 'place', 0)) == 0
    (folder / 'place' / 'rows').rename(folder / 'rows')
    return folder


@pytest.fixture
def place(tiny_data, monkeypatch, request):
    """Go to an empty folder beside the data."""
    folder = tiny_data / f'place of {request.node.name}'
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def full_disk():
    """Return a function that lets no file grow beyond some bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(size):
        soft = before[0] if size is None else size
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, before[1]))

    yield fill
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
@pytest.mark.parametrize('verb', VERBS)
def test_a_full_disk_is_one_sentence_and_nothing_is_lost(verb, place, full_disk, capsys):
    writer = VERBS[verb]
    if not writer.is_once:
        assert main(writer.words(place, 0)) == 0
    before = writer.read(place)
    capsys.readouterr()
    full_disk(1000)
    assert main(writer.words(place, 1)) == 2
    full_disk(None)
    said = capsys.readouterr().err.strip().splitlines()
    lines = [line for line in said if line.startswith('meta-ood-train: ')]
    assert len(lines) == 1
    assert SENTENCE.format(os.strerror(errno.EFBIG)) in lines[0]
    assert not [line for line in said if 'Traceback' in line]
    assert writer.read(place) == before
    assert main(writer.words(place, 1)) == 0
    assert set(writer.read(place)) == {1}
    assert not [path for path in place.rglob('.*') if path.name.endswith('.unfinished')]


@pytest.mark.slow
def test_finetune_goes_on_where_the_disk_was_full(place, monkeypatch, capsys):
    fsync, calls = os.fsync, []

    def fill_up(descriptor):
        calls.append(descriptor)
        if len(calls) > 8:
            raise OSError(errno.ENOSPC, 'No space left on device')
        return fsync(descriptor)

    words = VERBS['finetune'].words(place, 0)
    with monkeypatch.context() as patch:
        patch.setattr('meta_ood_ros.core.files.whole_files.os.fsync', fill_up)
        assert main(words) == 2
    assert SENTENCE.format('No space left on device') in capsys.readouterr().err
    done = len(read_rows(place / 'run' / 'loss.csv'))
    assert done >= 1
    assert main([*words, '--resume']) == 0
    steps = [int(row['step']) for row in read_rows(place / 'run' / 'loss.csv')]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) > done


def test_an_interrupt_is_one_sentence_and_nothing_is_lost(place, monkeypatch, capsys):
    writer = VERBS['evaluate']
    assert main(writer.words(place, 0)) == 0

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('meta_ood_training.evaluation.report.FIGURES', {'curves': interrupt})
        assert main(writer.words(place, 1)) == 130
    said = capsys.readouterr().err
    assert 'evaluate: interrupted. To go on: meta-ood-train evaluate ' in said
    assert said.rstrip().endswith('--resume')
    assert writer.read(place) == (0,)
