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
from meta_ood_training.finetuning.config_reader import ConfigError
from meta_ood_training.finetuning.data.batches import RunBatches
from meta_ood_training.finetuning.loop.csv_rows import read_rows
from meta_ood_training.finetuning.loop.modes import depends_on_ranks
from meta_ood_training.finetuning.loop.module import FinetuneModule
from meta_ood_training.finetuning.loop_config import TrainingConfig
from meta_ood_training.finetuning.training_run import finetune, open_config
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
        # Samples made by other processes; the run that is never killed makes them itself.
        {'accumulate': 2, 'epochs': 3, 'resume_steps': 1, 'workers': 2},
    ],
)
def test_a_run_killed_in_mid_epoch_ends_with_the_same_weights(
    tmp_path, small_config, quiet, options
):
    path = write_config(small_config(**options), tmp_path / 'run.yaml')
    config = open_config(path, [], [])
    alone = replace(config, training=replace(config.training, workers=0))
    finetune(alone, tmp_path / 'whole', **quiet)
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


class KilledError(Exception):
    """Ends a run where a kill would: nothing of what the run does at its end is done."""


def run_until(monkeypatch, batch, config, output, **options):
    """Train until the forward pass of a batch begins, as if the run was killed there."""
    step = FinetuneModule.training_step

    def train_or_end(module, data, number):
        if number == batch:
            raise KilledError
        return step(module, data, number)

    monkeypatch.setattr(FinetuneModule, 'training_step', train_or_end)
    with pytest.raises(KilledError):
        finetune(config, output, **options)
    monkeypatch.setattr(FinetuneModule, 'training_step', step)


def test_a_validation_amid_accumulation_is_no_point_to_resume_from(
    tmp_path, small_config, quiet, monkeypatch
):
    # Two epochs of five batches, two batches a step: the validation behind the fifth batch stands
    # between the halves of the third step. The last resume point before it is that of step 2.
    config = small_config(validation=True, accumulate=2, resume_steps=2)
    config = replace(
        config,
        validation=replace(config.validation, every_steps=0),
        mixing=replace(config.mixing, proxies_per_street_image=0.7),
    )
    finetune(config, tmp_path / 'whole', **quiet)
    killed = tmp_path / 'killed'
    resume = killed / 'last.ckpt'
    run_until(monkeypatch, 4, config, killed, **quiet)
    run_until(monkeypatch, 5, config, killed, resume=resume, **quiet)
    progress = torch.load(resume, weights_only=False)['loops']['fit_loop']
    assert progress['epoch_loop.batch_progress']['current']['ready'] == 4
    finetune(config, killed, resume=resume, **quiet)
    for name in ('final.pth', 'best.pth'):
        assert_equal(tmp_path / 'whole' / name, killed / name)
    for name in ('loss.csv', 'validation.csv'):
        assert read_rows(tmp_path / 'whole' / name) == read_rows(killed / name)


def test_a_run_that_ended_early_ends_there_again(tmp_path, small_config, quiet):
    # Nothing moves, so the second validation is no better than the first: the run ends behind it,
    # and is killed before its last weights are written.
    config = small_config(validation=True, frozen_batch_norm=True, resume_steps=1)
    config = replace(
        config,
        validation=replace(config.validation, every_steps=1, patience=1),
        optimizer=replace(config.optimizer, learning_rate=1e-30),
    )
    finetune(config, tmp_path, **quiet)
    logs = [read_rows(tmp_path / name) for name in ('loss.csv', 'validation.csv')]
    final = (tmp_path / 'final.pth').rename(tmp_path / 'whole.pth')
    finetune(config, tmp_path, resume=tmp_path / 'last.ckpt', **quiet)
    assert_equal(final, tmp_path / 'final.pth')
    records = [torch.load(tmp_path / name, weights_only=True) for name in (final, 'final.pth')]
    assert [one['step'] for one in records] == [2, 2]
    assert records[0]['scores'] == records[1]['scores'] != {}
    assert logs == [read_rows(tmp_path / name) for name in ('loss.csv', 'validation.csv')]


def test_batch_norm_that_trains_is_not_resumed_on_another_number_of_ranks(
    tmp_path, small_config, quiet, monkeypatch
):
    config = small_config(batch_size=4, max_steps=1, resume_steps=1)
    finetune(config, tmp_path, **quiet)
    monkeypatch.setenv('WORLD_SIZE', '2')
    halved = replace(config, training=replace(config.training, batch_size=2))
    with pytest.raises(ConfigError, match='must have the 1 ranks that it began with, got 2: '):
        finetune(halved, tmp_path, resume=tmp_path / 'last.ckpt', **quiet)


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({}, True),
        ({'frozen_batch_norm': True}, True),
        ({'dropout': False}, True),
        ({'frozen_batch_norm': True, 'dropout': False}, False),
        ({'sync_batch_norm': True, 'dropout': False}, False),
    ],
)
def test_only_frozen_or_shared_statistics_do_without_the_number_of_ranks(options, expected):
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Dropout(0.5))
    assert depends_on_ranks(network, TrainingConfig(**options)) == expected


def test_another_configuration_is_not_resumed(tmp_path, small_config, quiet, monkeypatch):
    config = small_config(epochs=1)
    finetune(config, tmp_path, **quiet)
    began = torch.load(tmp_path / 'final.pth', weights_only=True)
    resume = tmp_path / 'last.ckpt'
    training = replace(config.training, workers=1, resume_steps=7)
    monkeypatch.setattr(
        'meta_ood_training.finetuning.training_run.source_revision', lambda: 'later'
    )
    finetune(replace(config, training=training), tmp_path, resume=resume, **quiet)
    facts = torch.load(tmp_path / 'final.pth', weights_only=True)
    assert facts['revision'] == began['revision'] != 'later'
    assert [(one['step'], one['revision']) for one in facts['resumed']] == [(4, 'later')]
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
        min((tmp_path / 'camvid' / 'train' / kind).iterdir()).unlink()
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
