"""The dispatcher: verbs, nearest names, missing packages, mistakes in one sentence."""

from importlib import import_module
import subprocess
import sys

from meta_ood_training import cli
import pytest


def test_every_verb_is_listed_and_none_is_an_error(capsys):
    assert cli.main(['--help']) == 0
    listed = capsys.readouterr().out
    for verb in ('finetune', 'segments', 'fit-meta', 'evaluate', 'overlay', 'bundle'):
        assert f'  {verb} ' in listed
    assert cli.main([]) == 2


@pytest.mark.parametrize('verb', list(cli.VERBS))
def test_every_verb_has_its_module(verb):
    module = import_module(f'meta_ood_training.{cli.VERBS[verb][0]}')
    assert callable(module.add_arguments)
    assert callable(module.run)


def test_unknown_verb_and_option_name_the_nearest(capsys):
    assert cli.main(['evalute']) == 2
    assert "got 'evalute'. Did you mean 'evaluate'?" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        cli.main(['evaluate', '--dataset', 'a=b', '--bundel', 'x'])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "unknown argument '--bundel'. Did you mean --bundle?" in message
    assert message.count('\n') == 1
    with pytest.raises(SystemExit):
        cli.main(['evaluate', '--dataset', 'a=b', '--bund', 'x'])  # no silent abbreviation
    assert 'Did you mean --bundle?' in capsys.readouterr().err


def test_a_mistake_is_one_sentence_and_debug_shows_where(capsys):
    arguments = ['overlay', '--frames', 'folder=/nowhere', '--objects', 'ecssd=/nowhere']
    arguments += ['--output', '/nowhere']
    assert cli.main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith('meta-ood-train: overlay: folder expects images in /nowhere')
    assert message.count('\n') == 1
    with pytest.raises(FileNotFoundError):
        cli.main(['--debug', *arguments])


@pytest.mark.parametrize(
    ('missing', 'advice'),
    [
        ('meta_ood_ros.core', 'The package meta_ood is not installed: source the install/'),
        ('sklearn.metrics', 'needs sklearn.metrics, got no such module. Run `pip install scikit-'),
        ('lightning', 'needs lightning, got no such module. Run `pip install lightning`'),
    ],
)
def test_a_missing_package_is_named_with_what_to_do(missing, advice, monkeypatch, capsys):
    def fail(name):
        raise ModuleNotFoundError(f'No module named {missing!r}', name=missing)

    monkeypatch.setattr(cli, 'import_module', fail)
    assert cli.main(['finetune']) == 2
    assert advice in capsys.readouterr().err
    with pytest.raises(ModuleNotFoundError):
        cli.main(['--debug', 'finetune'])


def test_help_shows_the_defaults_that_say_something(capsys):
    with pytest.raises(SystemExit):
        cli.main(['fit-meta', '--help'])
    text = ' '.join(capsys.readouterr().out.split())
    assert 'of the cross-validation (default: 10)' in text
    assert 'smaller objects may be missed (default: 0)' in text
    assert 'default: None' not in text
    assert '(default: )' not in text
    assert '(default: [])' not in text


def test_the_dispatcher_imports_nothing_heavy():
    program = (
        'import sys; from meta_ood_training import cli; cli.main(["--help"]); '
        'print(sorted({"torch", "numpy", "lightning", "matplotlib"} & set(sys.modules)))'
    )
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == '[]'
