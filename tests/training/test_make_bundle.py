"""training/make_bundle.sh: the order of its commands, that each is one, what it leaves out."""

import importlib
from pathlib import Path
import subprocess

from meta_ood_training.cli import NearestParser, VERBS
from meta_ood_training.finetuning.config import FinetuneConfig
from meta_ood_training.finetuning.config_reader import read_config
from meta_ood_training.finetuning.training_run import open_config
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# Stands for the interpreter: notes its arguments, one a line, and writes what the verb would.
RECORDER = """#!/usr/bin/env bash
{ printf '%s\\n' "$@"; echo --end--; } >> "$LOG"
previous=
for word in "$@"; do
  if [[ $previous == --output ]]; then
    mkdir -p "$word"
    touch "$word/final.pth" "$word/bundle.yaml" "$word/manifest.json"
  fi
  previous=$word
done
"""


DOMAINS = [
    *('overlay', 'overlay', 'segments'),  # CamVid
    *('overlay', 'segments') * 3,  # IDD-Lite, LabelMeFacade, the motorway
    *('segments', 'fit-meta'),  # rendered streets
]


def make(tmp_path, *arguments, **environment):
    """Run the script with the recorder as its interpreter; return the verbs' command lines."""
    python, log = tmp_path / 'python', tmp_path / 'log'
    python.write_text(RECORDER)
    python.chmod(0o755)
    log.write_text('')
    done = subprocess.run(
        ['bash', str(REPOSITORY / 'training/make_bundle.sh'), *arguments],
        env={'PATH': '/usr/bin:/bin', 'PYTHON': str(python), 'LOG': str(log), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    commands = [call.strip().split('\n') for call in log.read_text().split('--end--\n')[:-1]]
    module = 'meta_ood_training.cli'
    return done, [command[command.index(module) + 1 :] for command in commands]


@pytest.mark.parametrize(
    ('name', 'verbs'),
    [
        ('default', [*['finetune', 'finetune', 'bundle'], *['finetune', 'bundle'] * 2, *DOMAINS]),
        ('fast', [*['finetune', 'bundle'] * 2, *DOMAINS]),
    ],
)
def test_each_step_is_a_command_that_exists_and_is_done_once(tmp_path, name, verbs):
    arguments = name, str(tmp_path), str(tmp_path / 'runs')
    done, commands = make(tmp_path, *arguments, OVERRIDES='training.max_steps=3')
    assert done.returncode == 0, done.stderr
    assert [command[0] for command in commands] == verbs
    for verb, *rest in commands:
        parser = NearestParser()
        module = importlib.import_module(f'meta_ood_training.{VERBS[verb][0]}')
        module.add_arguments(parser)
        parsed = parser.parse_args(getattr(module, 'prepare', list)(rest))
        if verb == 'finetune':
            config = read_config(FinetuneConfig, REPOSITORY / parsed.config, parsed.overrides)
            assert config.training.max_steps == 3
            named = dict(one.split('=') for one in parsed.data)
            open_config(REPOSITORY / parsed.config, named, parsed.overrides)  # uses each
            names = set(named)
            assert {one.data for one in (*config.street, *config.objects) if one.data} <= names
            assert not config.network.weights or config.network.weights in names
        if verb == 'bundle':
            stated = config.bundle
            assert parsed.name == name
            assert parsed.licence == stated.licence_of_weights
            assert parsed.data_terms == stated.data_terms
    again, commands = make(tmp_path, *arguments)
    assert again.returncode == 0
    assert commands == []


def test_an_interrupted_training_goes_on(tmp_path):
    run = tmp_path / 'runs' / 'default.large'
    run.mkdir(parents=True)
    (run / 'last.ckpt').touch()
    _, commands = make(tmp_path, 'default', str(tmp_path), str(tmp_path / 'runs'))
    assert '--resume' in commands[0]


@pytest.mark.parametrize(
    'arguments', [[], ['other', '.', 'runs'], ['default', '/nowhere', 'runs']]
)
def test_wrong_use_is_explained(tmp_path, arguments):
    done, commands = make(tmp_path, *arguments)
    assert done.returncode == 2
    assert 'usage:' in done.stderr
    assert commands == []
