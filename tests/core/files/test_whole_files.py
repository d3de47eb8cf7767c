"""Files and folders that change places: the old or the new whole, nothing beside them."""

import errno
import multiprocessing
import os
from pathlib import Path
import signal
import time

from meta_ood_ros.core.files import whole_folders
from meta_ood_ros.core.files.whole_files import NoSpaceError, replace_whole, write_whole
from meta_ood_ros.core.files.whole_folders import recover_folder, replace_folder
import pytest


def tree(folder):
    """Return all files below a folder with what they hold."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


def write(path, ours=(), **files):
    with replace_folder(path, ours=ours) as made:
        for name, text in files.items():
            (made / name).write_text(text)


def test_a_file_is_replaced_at_the_end(tmp_path):
    path = tmp_path / 'new' / 'x.txt'
    write_whole(path, 'old')
    with replace_whole(path) as stream:
        stream.write(b'new')
        assert path.read_text() == 'old'
    assert tree(tmp_path) == {'new/x.txt': 'new'}


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_and_nothing_else(tmp_path, error):
    write_whole(tmp_path / 'x', 'old')
    write(tmp_path / 'f', a='old')

    def write_half():
        with replace_whole(tmp_path / 'x') as stream:
            stream.write(b'half')
            raise error

    def write_half_a_folder():
        with replace_folder(tmp_path / 'f') as made:
            (made / 'a').write_text('half')
            raise error

    for half in (write_half, write_half_a_folder):
        with pytest.raises(error):
            half()
    assert tree(tmp_path) == {'x': 'old', 'f/a': 'old'}
    assert sorted(one.name for one in tmp_path.iterdir()) == ['f', 'x']


def test_a_link_goes_on_to_point_to_what_is_written(tmp_path):
    (tmp_path / 'file').write_text('old')
    (tmp_path / 'link').symlink_to('file')
    write_whole(tmp_path / 'link', 'new')
    write(tmp_path / 'folder', a='old')
    (tmp_path / 'way').symlink_to('folder')
    write(tmp_path / 'way', a='new')
    assert (tmp_path / 'link').is_symlink()
    assert (tmp_path / 'way').is_symlink()
    assert (tmp_path / 'file').read_text() == (tmp_path / 'folder/a').read_text() == 'new'


@pytest.mark.parametrize(
    'name', ['x' * 255, 'ä' * 127, 'with space', '[a]*', os.fsdecode(b'\xdf')]
)
def test_any_name_that_a_file_system_takes(tmp_path, name):
    for text in ('old', 'new'):
        write_whole(tmp_path / name, text)
    write(tmp_path / 'f' / name, a='old')
    write(tmp_path / 'f' / name, a='new')
    assert (tmp_path / name).read_text() == (tmp_path / 'f' / name / 'a').read_text() == 'new'
    assert len(list(tmp_path.iterdir())) == 2
    assert len(list((tmp_path / 'f').iterdir())) == 1


def test_a_folder_keeps_files_of_others_and_drops_stale_ones_of_ours(tmp_path):
    folder = tmp_path / 'f'
    write(folder, scores='1', plot_a='a', plot_b='b')
    (folder / 'notes').mkdir()
    (folder / 'notes' / 'mine.txt').write_text('mine')
    (folder / 'broken').symlink_to('nowhere')
    folder.chmod(0o750)
    write(folder, ours=('plot_*',), scores='2', plot_b='c')
    assert tree(folder) == {'scores': '2', 'plot_b': 'c', 'notes/mine.txt': 'mine'}
    assert (folder / 'broken').is_symlink()
    assert folder.stat().st_mode & 0o777 == 0o750
    assert [one.name for one in tmp_path.iterdir()] == ['f']


@pytest.fixture(params=['exchange', 'two renames', 'no rename'])
def file_system(request, monkeypatch):
    """Let the folder change places in each of the ways that file systems offer."""
    if request.param != 'exchange':
        monkeypatch.setattr(whole_folders, '_exchange', lambda one, other: False)
    if request.param == 'no rename':
        rename = Path.rename

        def refuse(self, target):
            if self.name == 'f':
                raise OSError(errno.EBUSY, 'Device or resource busy')
            return rename(self, target)

        monkeypatch.setattr(Path, 'rename', refuse)
    return request.param


def test_a_folder_is_replaced_on_any_file_system(tmp_path, file_system):
    write(tmp_path / 'f', a='old', stale_1='x')
    (tmp_path / 'f' / 'mine').write_text('mine')
    (tmp_path / 'f/stale_2/deep').mkdir(parents=True)
    (tmp_path / 'f/stale_2/deep/x').write_text('x')
    write(tmp_path / 'f', ours=('stale_*',), a='new', b='new')
    assert tree(tmp_path) == {'f/a': 'new', 'f/b': 'new', 'f/mine': 'mine'}
    assert [one.name for one in tmp_path.iterdir()] == ['f']


def test_the_working_directory_is_written_into(tmp_path, monkeypatch):
    write(tmp_path / 'f', a='old', stale_1='x')
    monkeypatch.chdir(tmp_path / 'f')
    write(Path(), ours=('stale_*',), a='new')
    assert tree(Path()) == {'a': 'new'}
    assert Path.cwd() == tmp_path / 'f'
    assert [one.name for one in tmp_path.iterdir()] == ['f']


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / 'f').write_text('mine')
    with pytest.raises(NotADirectoryError, match="output must be a folder, got '.*f', which is a"):
        write(tmp_path / 'f', a='new')
    assert tree(tmp_path) == {'f': 'mine'}


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def write_and_die(place, moment):
    """End a writer at a moment of its work, as no handler could."""
    if moment == 'file':
        with replace_whole(place / 'x') as stream:
            stream.write(b'half')
            die()
    rename = Path.rename

    def rename_old_only(self, target):
        if self.name.endswith('.unfinished') and not target.exists():
            die()
        return rename(self, target)

    exchange = whole_folders._exchange
    if moment == 'between':
        whole_folders._exchange = lambda one, other: False
        Path.rename = rename_old_only
    if moment == 'after':
        whole_folders._exchange = lambda one, other: (exchange(one, other), die())
    with replace_folder(place / 'f') as made:
        (made / 'a').write_text('new')
        if moment == 'inside':
            die()


def write_often(place, text):
    for _ in range(20):
        write(place, a=text, b=text, c=text)


def wait_and_write(path, begun, go_on):
    with replace_whole(path) as stream:
        begun.set()
        go_on.wait(30)
        stream.write(b'last')


PROCESSES = multiprocessing.get_context('fork')


@pytest.mark.parametrize(
    ('moment', 'left'), [('file', 'old'), ('inside', 'old'), ('between', 'old'), ('after', 'new')]
)
def test_a_kill_leaves_one_of_them_and_the_next_writer_clears_up(tmp_path, moment, left):
    write_whole(tmp_path / 'x', 'old')
    write(tmp_path / 'f', a='old')
    writer = PROCESSES.Process(target=write_and_die, args=(tmp_path, moment))
    writer.start()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    assert any(one.name.startswith('.') for one in tmp_path.iterdir())
    recover_folder(tmp_path / 'f')  # as every reader does
    assert (tmp_path / 'f' / 'a').read_text() == left
    assert (tmp_path / 'x').read_text() == 'old'
    write_whole(tmp_path / 'x', 'newer')
    write(tmp_path / 'f', a='newer')
    assert tree(tmp_path) == {'f/a': 'newer', 'x': 'newer'}
    assert sorted(one.name for one in tmp_path.iterdir()) == ['f', 'x']


def test_what_another_process_writes_is_left_alone(tmp_path):
    path, begun, go_on = tmp_path / 'x', PROCESSES.Event(), PROCESSES.Event()
    other = PROCESSES.Process(target=wait_and_write, args=(path, begun, go_on))
    other.start()
    assert begun.wait(30)
    write_whole(path, 'first')
    assert len(list(tmp_path.iterdir())) == 2
    go_on.set()
    other.join()
    assert other.exitcode == 0
    assert tree(tmp_path) == {'x': 'last'}


def test_only_leftovers_of_the_same_name_are_removed(tmp_path):
    kept = {'.x.0123456789ab.unfinishe', '.xx.0123456789ab.unfinished', '.x', '.x.old', '.x-1a'}
    for name in (*kept, '.x.0123456789ab.unfinished'):
        (tmp_path / name).touch()
    write_whole(tmp_path / 'x', 'new')
    assert {one.name for one in tmp_path.iterdir()} == {*kept, 'x'}


def test_many_writers_at_once_leave_one_whole(tmp_path):
    write(tmp_path / 'f', a='0', b='0', c='0')
    writers = [
        PROCESSES.Process(target=write_often, args=(tmp_path / 'f', word)) for word in ('1', '2')
    ]
    for one in writers:
        one.start()
    while any(one.is_alive() for one in writers):
        assert (tmp_path / 'f').is_dir()
        time.sleep(0.002)
    assert [one.exitcode for one in writers] == [0, 0]
    assert len(set(tree(tmp_path / 'f').values())) == 1
    assert [one.name for one in tmp_path.iterdir()] == ['f']


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_one_sentence(tmp_path, number):
    write_whole(tmp_path / 'x', 'old')
    write(tmp_path / 'f', a='old')
    message = r'must be written whole, got: .*What stood there before is unchanged: free some'

    def fill(place):
        with place:
            raise OSError(number, os.strerror(number))

    with pytest.raises(NoSpaceError, match=f'x {message}') as caught:
        fill(replace_whole(tmp_path / 'x'))
    assert caught.value.errno == number
    with pytest.raises(NoSpaceError, match=f'f {message}'):
        fill(replace_folder(tmp_path / 'f'))
    assert tree(tmp_path) == {'x': 'old', 'f/a': 'old'}


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match='nothing'), replace_folder(tmp_path / 'f'):
        (tmp_path / 'nothing').read_text()
