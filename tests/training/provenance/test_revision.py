"""Which source tree and which processes made a run."""

import subprocess

from meta_ood_training.provenance import revision
from meta_ood_training.provenance.revision import add_process, source_revision
import pytest


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Make a repository of code, configurations and documents; training asks for it."""
    for folder in ('meta_ood_ros', 'training', 'config', 'docs'):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'a.py').write_text('1\n')
    for words in (['init', '-q'], ['add', '.'], ['commit', '-q', '-m', 'x']):
        identity = ['-c', 'user.name=x', '-c', 'user.email=x@example.com']
        subprocess.run(['git', *identity, *words], cwd=tmp_path, check=True)
    monkeypatch.setattr(revision, '__file__', str(tmp_path / 'training' / 'a.py'))
    return tmp_path


@pytest.mark.parametrize('folder', ['meta_ood_ros', 'training', 'config'])
def test_a_change_of_what_made_a_run_is_told(tree, folder):
    clean = source_revision()
    assert len(clean) == 12
    (tree / folder / 'new.txt').touch()  # an untracked file is no change
    (tree / 'docs' / 'a.py').write_text('2\n')  # nor is a document
    assert source_revision() == clean
    (tree / folder / 'a.py').write_text('2\n')
    assert source_revision() == f'{clean}+'


def test_a_tree_without_git_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(revision, '__file__', str(tmp_path / 'a.py'))
    monkeypatch.setenv('GIT_CEILING_DIRECTORIES', str(tmp_path.parent))
    assert source_revision() == 'unknown'


def test_a_run_keeps_how_it_began_and_lists_who_went_on_differently():
    first = {'command': 'c', 'revision': 'a', 'machine': 'm', 'config': 1}
    same = add_process(first, {**first, 'config': 2}, 3)
    assert same == {**first, 'config': 2}
    second = add_process(same, {**first, 'revision': 'b'}, 5)
    later = {'step': 5, 'command': 'c', 'revision': 'b', 'machine': 'm'}
    assert second == {**first, 'resumed': [later]}
    assert add_process(second, {**first, 'revision': 'b'}, 6) == second
    third = add_process(second, first, 7)
    assert third['resumed'] == [later, {**later, 'step': 7, 'revision': 'a'}]
