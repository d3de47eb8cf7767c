"""Nothing at --output is replaced untold, and no two processes write into one folder."""

from dataclasses import asdict
import os
import re
import subprocess
import sys

from meta_ood_ros.core.bundle import LABEL_RULES
from meta_ood_training import cli
from meta_ood_training.finetuning.command import describe
from meta_ood_training.finetuning.config import FinetuneConfig
from meta_ood_training.finetuning.training_run import FinetuneResult, open_config
from meta_ood_training.output_places import check_free, check_launcher, hold_folder
from meta_ood_training.overlays.compositing import BLENDING
from meta_ood_training.overlays.overlay_set import OBJECTS, SPLITS
from meta_ood_training.overlays.plan import OverlaySettings, STYLES
from meta_ood_training.scores import SIZE_RULES
from meta_ood_training.segments.options import ExtractionOptions
import pytest


def test_what_holds_something_is_refused_until_told(tmp_path):
    check_free(None, overwrite=False)
    check_free(tmp_path / 'new', overwrite=False)
    check_free(tmp_path, overwrite=False)
    (tmp_path / 'mine.txt').touch()
    with pytest.raises(ValueError, match=r'--output must be new, got .*, which holds mine\.txt'):
        check_free(tmp_path, overwrite=False)
    with pytest.raises(ValueError, match='--report must be new, got .*, a file. Choose another'):
        check_free(tmp_path / 'mine.txt', overwrite=False, option='--report')
    check_free(tmp_path, overwrite=True)


def test_a_folder_is_held_by_one_process_and_free_when_it_ends(tmp_path):
    folder = tmp_path / 'run'
    program = (
        'import sys; from pathlib import Path; '
        'from meta_ood_training.output_places import hold_folder\n'
        'with hold_folder(Path(sys.argv[1])): print("held")'
    )
    command = [sys.executable, '-c', program, str(folder)]
    with hold_folder(folder):
        other = subprocess.run(command, capture_output=True, text=True, check=False)
        assert 'output must be of one process, got' in other.stderr
        assert other.stdout == ''
        with hold_folder(folder, is_ours=False):  # another rank
            pass
    with hold_folder(folder):
        pass
    assert not list(folder.iterdir())
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match='output must be a folder, got the file'):
        hold_folder(tmp_path / 'file').__enter__()


@pytest.mark.parametrize(
    ('environment', 'is_refused'),
    [
        ({}, False),
        ({'SLURM_PROCID': '0', 'SLURM_NTASKS': '1'}, False),
        ({'SLURM_PROCID': '2', 'SLURM_NTASKS': '4'}, True),
        ({'SLURM_PROCID': '2', 'SLURM_NTASKS': '4', 'RANK': '2'}, False),
        ({'SLURM_PROCID': '0', 'SLURM_NTASKS': '4', 'SLURM_STEP_NUM_TASKS': '1'}, False),
    ],
)
def test_tasks_of_slurm_without_ranks_are_refused(environment, is_refused):
    if not is_refused:
        check_launcher(environment)
        return
    with pytest.raises(ValueError, match='must know their RANK, got 4 tasks of SLURM'):
        check_launcher(environment)


@pytest.mark.parametrize('name', ['OMPI_COMM_WORLD_SIZE', 'PMI_SIZE'])
def test_processes_of_mpirun_without_ranks_are_refused(name):
    with pytest.raises(
        ValueError, match=f'must know their RANK, got 4 of mpirun .{name}. without'
    ):
        check_launcher({name: '4'})
    check_launcher({name: '1'})
    check_launcher({name: '4', 'RANK': '0'})


def test_four_tasks_start_nothing(tmp_path, monkeypatch, capsys):
    for name, value in {'SLURM_PROCID': '1', 'SLURM_NTASKS': '4'}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv('RANK', raising=False)
    words = ['finetune', 'none.yaml', '--output', str(tmp_path / 'run')]
    assert cli.main(words) == cli.WRONG_USE
    said = capsys.readouterr().err
    assert said.startswith('meta-ood-train: finetune: several processes must know their RANK')
    assert said.count('\n') == 1
    assert not (tmp_path / 'run').exists()


def test_the_version_is_told(capsys):
    assert cli.main(['--version']) == 0
    assert capsys.readouterr().out == f'meta-ood-train {cli.__version__}\n'


@pytest.mark.parametrize('verb', cli.VERBS)
def test_help_does_not_wait_for_pytorch(verb):
    program = (
        'import sys; from meta_ood_training import cli\n'
        'slow = {"torch", "numba", "sklearn", "scipy", "matplotlib", "pyarrow", "cv2"}\n'
        'try: cli.main(sys.argv[1:])\n'
        'except SystemExit as stopped: print(stopped.code, slow & set(sys.modules))'
    )
    words = [sys.executable, '-c', program, verb, '--help']
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.splitlines()[-1] == '0 set()'


def test_overrides_may_stand_anywhere():
    parser = cli.NearestParser(allow_abbrev=False)
    cli.import_module('meta_ood_training.finetuning.command').add_arguments(parser)
    words = ['a=1', '--output', 'runs/x', 'b=2', '--data', 'camvid=/c', 'c=3']
    parsed = parser.parse_args(['config.yaml', *words])
    assert parsed.overrides == ['a=1', 'b=2', 'c=3']
    assert (str(parsed.config), str(parsed.output)) == ('config.yaml', 'runs/x')


@pytest.mark.parametrize(
    'words', [['out', '--bundle', 'b'], ['--bundle', 'b', 'out'], ['--output', 'out']]
)
def test_the_folder_of_segments_is_its_output_too(words, monkeypatch, capsys):
    given = []

    def extract(folder, **options):
        given.append(folder)
        raise ValueError('enough')

    monkeypatch.setattr('meta_ood_training.segments.segment_folder.extract_segments', extract)
    assert cli.main(['segments', *words, '--scenes', '0:1']) == cli.WRONG_USE
    assert [str(one) for one in given] == ['out']
    for wrong, count in ((['--scenes', '0:1'], 0), ([*words, '--output', 'a', 'b'], 2)):
        if count == 2 and '--output' not in words:
            wrong = [*words, '--output', 'a']
        assert cli.main(['segments', *wrong]) == cli.WRONG_USE
        assert f'needs one folder to write to, got {count}' in capsys.readouterr().err


def test_an_unknown_option_of_a_sub_verb_names_the_nearest(capsys):
    with pytest.raises(SystemExit):
        cli.main(['bundle', 'verify', 'default', '--devise', 'cpu'])
    assert "unknown argument '--devise'. Did you mean --device?" in capsys.readouterr().err


def test_an_interrupted_run_says_how_to_go_on(monkeypatch, capsys):
    module = cli.import_module('meta_ood_training.finetuning.command')

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, 'run', interrupt)
    assert cli.main(['finetune', 'config.yaml']) == cli.INTERRUPTED
    said = capsys.readouterr().err
    assert 'finetune: interrupted. To go on: meta-ood-train finetune config.yaml --resume' in said
    assert cli.main(['finetune', 'config.yaml', '--resume']) == cli.INTERRUPTED
    assert capsys.readouterr().err.count('--resume') == 1


@pytest.mark.parametrize(
    ('words', 'resumes'),
    [(['--output', 'o'], True), ([], False), (['--output', 'o', '--segments'], True)],
)
def test_only_what_is_kept_is_gone_on_with(words, resumes, monkeypatch, capsys):
    module = cli.import_module('meta_ood_training.evaluation.command')

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, 'run', interrupt)
    assert cli.main(['evaluate', '--data', 'a=b', *words]) == cli.INTERRUPTED
    assert ('--resume' in capsys.readouterr().err) == resumes


def test_data_that_the_configuration_does_not_name_are_refused(repository):
    config = repository / 'config' / 'finetune_espnet_v2.yaml'
    opened = open_config(config, {'camvid': '/c'})
    assert isinstance(opened, FinetuneConfig)
    assert opened.data == {'camvid': '/c'}
    with pytest.raises(ValueError, match="got 'camvd', which it does not. Did you mean 'camvid'"):
        open_config(config, {'camvd': '/c'})
    with pytest.raises(ValueError, match="got 'zzz', which it does not. Leave it out"):
        open_config(config, {'zzz': '/c'})


def test_a_negative_limit_is_refused():
    with pytest.raises(ValueError, match='--limit must be at least 0, got -3. 0 takes all frames'):
        ExtractionOptions(limit=-3)


def test_a_run_without_best_weights_says_why(tmp_path):
    result = FinetuneResult(
        output=tmp_path,
        weights=tmp_path / 'final.pth',
        best_weights=None,
        best=None,
        best_step=0,
        last=None,
        figure=tmp_path / 'curves.png',
        minutes=1.5,
    )
    said = describe(result, is_validated=False)
    assert said.startswith('trained for 1.5 min, no best.pth: nothing was validated; weights of')
    assert '\n' not in said
    assert 'lost more mIoU than validation.mean_iou_loss' in describe(result, is_validated=True)


def test_help_names_every_choice_that_it_does_not_import(capsys):
    for verb, words in {
        'segments': LABEL_RULES,
        'overlay': (*OBJECTS, *SPLITS, *BLENDING, *STYLES),
        'evaluate': SIZE_RULES,
    }.items():
        with pytest.raises(SystemExit):
            cli.main([verb, '--help'])
        text = capsys.readouterr().out
        assert [word for word in words if not re.search(rf'\b{word}\b', text)] == []


def test_the_options_of_overlay_have_the_defaults_of_its_record():
    parser = cli.NearestParser(allow_abbrev=False)
    cli.import_module('meta_ood_training.overlays.command').add_arguments(parser)
    words = ['--frames', 'a=b', '--objects', 'c=d', '--output', 'e']
    parsed = vars(parser.parse_args(words))
    parsed['area_min'], parsed['area_max'] = parsed['area']
    known = asdict(OverlaySettings())
    assert {name: parsed[name] for name in known} == known


def test_options_of_one_name_mean_the_same_in_every_verb():
    found = {}
    for verb, (module, _) in cli.VERBS.items():
        parser = cli.NearestParser(prog=verb, allow_abbrev=False)
        cli.import_module(f'meta_ood_training.{module}').add_arguments(parser)
        found[verb] = {word: one for one in parser._actions for word in one.option_strings}
    del found['bundle']  # its sub-verbs have them
    assert [verb for verb, options in found.items() if '--output' not in options] == []
    without_data = [verb for verb, options in found.items() if '--data' not in options]
    # these take segments, or images as they are
    assert without_data == ['fit-meta', 'predict', 'adapt']
    devices = {verb: one['--device'].default for verb, one in found.items() if '--device' in one}
    assert set(devices) >= {'finetune', 'segments', 'evaluate', 'predict'}
    assert set(devices.values()) == {'auto'}
    for options in found.values():
        if '--limit' in options:
            assert '0 all' in options['--limit'].help
