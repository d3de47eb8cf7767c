"""A killed run that goes on ends with the weights of a run that was never killed."""

from dataclasses import asdict, replace
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

from meta_ood_ros.core.networks import load_checkpoint
from meta_ood_training.cli import main
from meta_ood_training.config_reader import ConfigError
from meta_ood_training.finetune import finetune, open_config
from meta_ood_training.trainer.batches import RunBatches
from meta_ood_training.trainer.module import FinetuneModule
from meta_ood_training.trainer.run_log import read_rows
import pytest
import torch
import yaml


def write_config(config, path):
    path.write_text(yaml.safe_dump(json.loads(json.dumps(asdict(config)))), encoding='utf-8')
    return path


def assert_equal(one: Path, other: Path) -> None:
    first, second = load_checkpoint(one), load_checkpoint(other)
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


@pytest.mark.parametrize(
    'options',
    [
        # Batch norm in train mode, augmentation, average, cosine: all state that there is.
        {'average_decay': 0.9, 'epochs': 3, 'validation': True},
        # A validation at each resume point.
        {'epochs': 3, 'validation': True, 'resume_steps': 3},
        {'accumulate': 2, 'epochs': 3, 'resume_steps': 1},
    ],
)
def test_a_run_killed_in_mid_epoch_ends_with_the_same_weights(
    tmp_path, small_config, quiet, options
):
    path = write_config(small_config(**options), tmp_path / 'run.yaml')
    config = open_config(path, [], [])
    finetune(config, tmp_path / 'whole', **quiet)
    killed = tmp_path / 'killed'
    words = ['finetune', str(path), '--output', str(killed)]
    process = subprocess.Popen(
        [sys.executable, '-m', 'meta_ood_training.cli', *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, 'CUDA_VISIBLE_DEVICES': ''},
    )
    deadline = time.monotonic() + 120
    while not (killed / 'last.ckpt').exists():
        assert process.poll() is None, 'the run ended before it could be killed'
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / 'final.pth').exists()
    step = torch.load(killed / 'last.ckpt', weights_only=False)['global_step']
    assert 0 < step < 12
    assert main([*words, '--resume']) == 0
    for weights in ('final.pth', 'best.pth') if options.get('validation') else ('final.pth',):
        assert_equal(tmp_path / 'whole' / weights, killed / weights)
        records = [
            torch.load(run / weights, weights_only=False) for run in (tmp_path / 'whole', killed)
        ]
        assert records[0]['scores'] == records[1]['scores']
        assert records[0]['step'] == records[1]['step']
    assert read_rows(tmp_path / 'whole' / 'loss.csv') == read_rows(killed / 'loss.csv')
    assert read_rows(tmp_path / 'whole' / 'validation.csv') == read_rows(killed / 'validation.csv')


def test_another_configuration_is_not_resumed(tmp_path, small_config, quiet):
    config = small_config(epochs=1)
    finetune(config, tmp_path, **quiet)
    resume = tmp_path / 'last.ckpt'
    training = replace(config.training, workers=1, resume_steps=7)
    finetune(replace(config, training=training), tmp_path, resume=resume, **quiet)
    kept = (tmp_path / 'config.json').read_text()
    others = {
        'objective': {'objective': replace(config.objective, ood_loss_weight=0.4)},
        'training': {'training': replace(config.training, average_decay=0.9)},
        'network': {'network': replace(config.network, arguments={'scale': 1.0})},
    }
    for part, changes in others.items():
        match = f'configuration and data that it began with, got others in {part} '
        with pytest.raises(ConfigError, match=match):
            finetune(replace(config, **changes), tmp_path, resume=resume, **quiet)
        assert (tmp_path / 'config.json').read_text() == kept
    for kind in ('images', 'labels'):
        min((tmp_path / 'camvid' / 'val' / kind).iterdir()).unlink()
    with pytest.raises(ConfigError, match='got others in samples of an epoch '):
        finetune(config, tmp_path, resume=resume, **quiet)


def test_a_file_that_is_no_resume_point_is_refused(tmp_path, small_config, quiet):
    (tmp_path / 'last.ckpt').write_bytes(b'cut off')
    with pytest.raises(ConfigError, match=r'last.ckpt must be a resume point of `finetune`, got'):
        finetune(small_config(), tmp_path, resume=tmp_path / 'last.ckpt', **quiet)


def test_weights_that_diverged_spoil_no_file(tmp_path, small_config, quiet, monkeypatch):
    config = small_config(epochs=1, resume_steps=1)
    step = FinetuneModule.training_step

    def diverge(module, batch, number):
        return step(module, batch, number) * (float('nan') if number == 2 else 1.0)

    monkeypatch.setattr(FinetuneModule, 'training_step', diverge)
    with pytest.raises(ConfigError, match=r'weights must be finite, got others in .* at step 3'):
        finetune(config, tmp_path, **quiet)
    assert torch.load(tmp_path / 'last.ckpt', weights_only=False)['global_step'] == 2
    assert not (tmp_path / 'final.pth').exists()


def test_final_weights_bear_no_scores_of_other_weights(tmp_path, small_config, quiet):
    finetune(small_config(epochs=2, max_steps=4, validation=True), tmp_path, **quiet)
    final, best = (
        torch.load(tmp_path / name, weights_only=False) for name in ('final.pth', 'best.pth')
    )
    assert (final['step'], final['scores']) == (4, {})
    assert best['scores']


def test_ranks_share_the_batches_of_one_rank_and_a_resumed_run_skips_what_is_done():
    alone = list(RunBatches(21, 2, 4))
    assert [len(alone), alone[0][0], alone[5][0]] == [10, (0, 0), (1, 0)]
    ranks = [list(RunBatches(21, 2, 2, rank=rank, world_size=2)) for rank in (0, 1)]
    for whole, first, second in zip(alone, *ranks, strict=True):
        assert first + second == whole
    resumed = RunBatches(21, 2, 4, max_batches=8)
    resumed.resume_from(lambda: 3)
    assert list(resumed) == alone[3:8]
    with pytest.raises(ValueError, match='an epoch must fill one batch of 4 on 2'):
        RunBatches(7, 1, 4, world_size=2)
