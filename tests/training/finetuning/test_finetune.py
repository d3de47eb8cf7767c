"""Whole small runs: what they write, what they leave alone, and that they reach their aim."""

import argparse
from dataclasses import replace
import os
from pathlib import Path

import lightning
from meta_ood_ros.core.dense import predict_dense
from meta_ood_ros.core.image import to_network_input
from meta_ood_ros.core.networks import build_network, load_checkpoint, load_weights
from meta_ood_training.cli import main
from meta_ood_training.datasets.sample import OOD
from meta_ood_training.finetuning import dry_run
from meta_ood_training.finetuning.command import _command
from meta_ood_training.finetuning.config import NetworkConfig
from meta_ood_training.finetuning.config_reader import ConfigError
from meta_ood_training.finetuning.data.batches import RunBatches, TrainingSamples
from meta_ood_training.finetuning.data.loaders import make_training_loader, make_validation_loader
from meta_ood_training.finetuning.data.mixing import MixedSamples, MixingSettings
from meta_ood_training.finetuning.data.scene_samples import SceneSamples
from meta_ood_training.finetuning.data.street import open_samples
from meta_ood_training.finetuning.dry_run import try_one_step
from meta_ood_training.finetuning.loop.checkpoints import save_whole
from meta_ood_training.finetuning.loop.csv_rows import read_rows
from meta_ood_training.finetuning.loop.schedule import learning_rate_share
from meta_ood_training.finetuning.loop.starting_network import open_networks
from meta_ood_training.finetuning.loop.validation import Scores
from meta_ood_training.finetuning.training_run import finetune, open_config
import numpy as np
import pytest
import torch


def with_training(config, **changes):
    return replace(config, training=replace(config.training, **changes))


def weights(path):
    return load_checkpoint(path)


def test_a_run_writes_weights_that_load_and_logs_of_every_step(tmp_path, small_config, quiet):
    config = small_config(average_decay=0.9)
    (tmp_path / 'run').mkdir()
    (
        tmp_path / 'run' / '.last.ckpt.0123456789ab.unfinished'
    ).touch()  # left by a run killed while it saved
    finetune(config, tmp_path / 'run', command='meta-ood-train finetune x.yaml', **quiet)
    network = build_network('espnet_v2', num_classes=19, scale=0.5)
    load_weights(network, weights(tmp_path / 'run' / 'final.pth'), source='the run')
    rows = read_rows(tmp_path / 'run' / 'loss.csv')
    # An epoch is 6 frames and int(0.4 x 6) = 2 proxies in batches of 2; two epochs.
    assert [int(row['step']) for row in rows] == list(range(1, 9))
    assert all(float(row['l_out']) >= 2.944 for row in rows)
    assert all(int(row['in_distribution_px']) + int(row['ood_px']) <= 2 * 48**2 for row in rows)
    shares = [learning_rate_share(step, config=config.optimizer, steps=8) for step in range(8)]
    rates = [float(row['learning_rate']) for row in rows]
    assert rates == pytest.approx([2e-3 * share for share in shares], rel=1e-5)
    assert not list((tmp_path / 'run').glob('.*'))
    assert (tmp_path / 'run' / 'curves.png').read_bytes().startswith(b'\x89PNG')
    facts = torch.load(tmp_path / 'run' / 'final.pth', weights_only=True)
    assert facts['command'] == 'meta-ood-train finetune x.yaml'
    assert facts['config']['data'] == ['camvid', 'ecssd']
    assert facts['step'] == 8


def test_a_term_without_pixels_is_left_empty(tmp_path, small_config, quiet):
    config = small_config(max_steps=2)
    config = replace(config, proxies=(), objects=(), mixing=MixingSettings())
    finetune(config, tmp_path / 'run', **quiet)
    for row in read_rows(tmp_path / 'run' / 'loss.csv'):
        assert (row['l_out'], row['ood_px']) == ('', '0')
        assert float(row['loss']) == pytest.approx(0.7 * float(row['l_in']), rel=1e-4)


def test_the_average_is_that_of_the_weights_after_each_step(tmp_path, small_config, quiet):
    config = small_config(average_decay=0.2, max_steps=4)
    key = 'base_net.level1.conv.weight'
    seen = []

    class Watch(lightning.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            seen.append(module.network.state_dict()[key].clone())

    class Trainer(lightning.Trainer):
        def __init__(self, *, callbacks, **options):
            super().__init__(callbacks=[*callbacks, Watch()], **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lightning, 'Trainer', Trainer)
        finetune(config, tmp_path, **quiet)
    average = torch.zeros_like(seen[0])
    for done, current in enumerate(seen):
        decay = min(0.2, done / (done + 9))  # 0: what was before does not count; 0.1, 0.18, 0.2
        average = decay * average + (1 - decay) * current
    torch.testing.assert_close(weights(tmp_path / 'final.pth')[key], average)
    assert (average - seen[-1]).abs().max() > 1e-5


def test_frozen_batch_norm_keeps_its_statistics_and_train_mode_moves_them(
    tmp_path, small_config, quiet
):
    config = small_config(max_steps=2)
    start = build_network('espnet_v2', num_classes=19, scale=0.5).state_dict()
    key = 'base_net.level1.bn.running_mean'
    finetune(with_training(config, frozen_batch_norm=True), tmp_path / 'frozen', **quiet)
    finetune(config, tmp_path / 'moving', **quiet)
    assert torch.equal(weights(tmp_path / 'frozen' / 'final.pth')[key], start[key])
    assert not torch.equal(weights(tmp_path / 'moving' / 'final.pth')[key], start[key])


@pytest.mark.parametrize(('reset', 'steps'), [(False, 8), (True, 4)])
def test_adam_is_kept_across_epochs_unless_the_published_code_is_repeated(
    tmp_path, reset, steps, small_config, quiet
):
    config = small_config()
    config = replace(config, optimizer=replace(config.optimizer, reset_optimizer_each_epoch=reset))
    finetune(with_training(config, resume_steps=8), tmp_path / 'run', **quiet)
    kept = torch.load(tmp_path / 'run' / 'last.ckpt', weights_only=False)
    states = kept['optimizer_states'][0]['state']
    assert {int(state['step']) for state in states.values()} == {steps}


def test_training_raises_the_entropy_of_unseen_pastes_above_that_of_the_street(
    tmp_path, small_config, quiet
):
    config = small_config(epochs=16)
    finetune(config, tmp_path / 'run', **quiet)
    network = build_network('espnet_v2', num_classes=19, scale=0.5)
    load_weights(network, weights(tmp_path / 'run' / 'final.pth'), source='the run')
    network.eval()
    samples, _ = open_samples(config)
    inside, outside = [], []
    for position in range(8):
        sample = samples[1000, position]
        with torch.inference_mode():
            logits = network(to_network_input(sample.image))
        entropy = predict_dense(logits[0], (48, 48), align_corners=True).entropy
        outside += entropy[sample.target == OOD].tolist()
        inside += entropy[sample.target < 19].tolist()
    assert np.mean(outside) > 0.6
    assert np.mean(outside) > np.mean(inside) + 0.1


def test_the_best_checkpoint_is_the_one_that_the_validation_log_says(
    tmp_path, small_config, quiet
):
    keeper = finetune(small_config(validation=True), tmp_path / 'run', **quiet)
    rows = read_rows(tmp_path / 'run' / 'validation.csv')
    assert [int(row['step']) for row in rows] == [0, 3, 6]
    best = torch.load(tmp_path / 'run' / 'best.pth', weights_only=True)
    assert best['step'] == keeper.best_step
    assert best['scores']['average_precision'] == keeper.best.average_precision
    kept = [float(row['average_precision']) for row in rows[1:]]
    assert keeper.best.average_precision == pytest.approx(max(kept), rel=1e-4)
    assert best['start_scores']['mean_iou'] == pytest.approx(float(rows[0]['mean_iou']), rel=1e-4)


def test_patience_ends_a_run_that_no_longer_improves(tmp_path, small_config, quiet):
    config = with_training(small_config(validation=True, epochs=3), frozen_batch_norm=True)
    config = replace(
        config,
        validation=replace(config.validation, every_steps=1, patience=2),
        optimizer=replace(config.optimizer, learning_rate=1e-12, warmup_steps=0),
    )
    finetune(config, tmp_path / 'run', **quiet)
    rows = read_rows(tmp_path / 'run' / 'validation.csv')
    assert len(rows) <= 5


@pytest.mark.parametrize('options', [{'precision': 'bf16-mixed'}, {'channels_last': False}])
def test_mixed_precision_and_memory_layout_change_little(tmp_path, small_config, quiet, options):
    config = small_config(max_steps=2)
    finetune(config, tmp_path / 'plain', **quiet)
    finetune(with_training(config, **options), tmp_path / 'other', **quiet)
    plain, other = (read_rows(tmp_path / name / 'loss.csv') for name in ('plain', 'other'))
    for one, two in zip(plain, other, strict=True):
        assert float(two['loss']) == pytest.approx(float(one['loss']), rel=0.03)


def test_a_teacher_is_the_networks_own_start_unless_another_is_named(
    tmp_path, small_config, quiet
):
    config = small_config()
    assert open_networks(config)[1] is None
    street = (replace(config.street[0], targets='consistent'),)
    with pytest.raises(ValueError, match='a teacher needs trained weights, got none'):
        open_networks(replace(config, street=street))
    start = build_network('espnet_v2', num_classes=19, scale=0.5)
    torch.save(start.state_dict(), tmp_path / 'start.pth')
    config = replace(
        config,
        street=street,
        network=replace(config.network, weights='start'),
        data={**config.data, 'start': str(tmp_path / 'start.pth')},
    )
    network, teacher = open_networks(config)
    assert teacher is not network
    assert torch.equal(
        teacher.state_dict()['base_net.level1.conv.weight'],
        start.state_dict()['base_net.level1.conv.weight'],
    )
    keeper = finetune(with_training(config, max_steps=2), tmp_path / 'run', **quiet)
    assert keeper.best is None
    assert weights(tmp_path / 'run' / 'final.pth').keys() == start.state_dict().keys()


def test_another_number_of_classes_teaches_nothing(small_config):
    config = small_config()
    config = replace(
        config,
        street=(replace(config.street[0], targets='teacher'),),
        objective=replace(
            config.objective,
            teacher='start',
            teacher_architecture=NetworkConfig('espnet_v2', {'scale': 0.5}, 20),
        ),
    )
    with pytest.raises(ConfigError, match='must have the 19 classes of the network, got 20'):
        open_networks(config)


def test_a_dry_run_names_data_loss_memory_and_time(tmp_path, small_config):
    said = try_one_step(small_config(validation=True))
    for expected in (
        r'street images [6]',
        'the run has 8 optimizer steps of 2 x 1',
        'validation has 2 frames',
        'l_in ',
        'GiB on cpu',
        's a step',
    ):
        assert expected in said


def test_a_dry_run_times_a_step_until_the_device_has_done_it(small_config, monkeypatch):
    clock = iter([0.0, 5.0, 10.0, 12.5])
    monkeypatch.setattr(dry_run, '_read_clock', lambda device: next(clock))
    assert '2.50 s a step' in try_one_step(small_config())
    monkeypatch.undo()
    waited = []
    monkeypatch.setattr(torch.cuda, 'synchronize', waited.append)
    for name in ('cpu', 'cuda'):
        assert dry_run._read_clock(torch.device(name)) > 0
    assert waited == [torch.device('cuda')]


def test_the_verb_asks_for_missing_data_and_an_empty_folder(tmp_path, capsys, repository):
    config = str(repository / 'config' / 'finetune_espnet_v2.yaml')
    assert main(['finetune', config, '--output', str(tmp_path / 'a')]) == 2
    assert 'needs the data' in capsys.readouterr().err
    assert main(['finetune', config, '--data', 'camvid']) == 2
    assert "--data must be NAME=PATH, got 'camvid'" in capsys.readouterr().err
    assert main(['finetune', config, '--data', f'camvid={tmp_path}/none', '--dry-run']) == 2
    assert 'must exist' in capsys.readouterr().err
    assert main(['finetune', config, '--resume', '--output', str(tmp_path / 'a')]) == 2
    assert 'got no such file. Start without --resume' in capsys.readouterr().err
    for name, advice in (
        ('last.ckpt', 'Add --resume, or choose another.'),
        ('final.pth', 'Choose another.'),
        ('best.pth', 'Choose another.'),  # of a run killed before its first resume point
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
        assert main(['finetune', config, '--output', str(tmp_path / name)]) == 2
        assert f'which holds a run ({name}). {advice}' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('ranks', 'on_host', 'program'),
    [
        ('1', '1', 'meta-ood-train'),
        ('4', '4', 'torchrun --nproc-per-node 4 -m meta_ood_training.cli'),
        ('8', '4', 'torchrun --nnodes 2 --nproc-per-node 4 -m meta_ood_training.cli'),
    ],
)
def test_the_command_of_a_run_starts_as_many_ranks_again(
    small_config, monkeypatch, ranks, on_host, program
):
    monkeypatch.setenv('WORLD_SIZE', ranks)
    monkeypatch.setenv('LOCAL_WORLD_SIZE', on_host)
    given = argparse.Namespace(config=Path('/a/config/x.yaml'), overrides=['training.seed=1'])
    expected = 'finetune config/x.yaml training.seed=1 --data camvid=<camvid>'
    assert _command(given, small_config()).startswith(f'{program} {expected}')


def test_data_on_the_command_line_add_to_those_of_the_file(repository):
    config = open_config(
        repository / 'config' / 'finetune_espnet_v2.yaml', {'camvid': 'a=b'}, ['training.seed=3']
    )
    assert config.data['camvid'] == 'a=b'
    assert config.training.seed == 3


def test_a_checkpoint_is_whole_or_absent(tmp_path):
    path = tmp_path / 'x.pth'
    save_whole({'a': 1}, path)
    with pytest.raises(Exception, match=r'pickle|lambda|local'):
        save_whole({'a': lambda: None}, path)
    assert torch.load(path, weights_only=True) == {'a': 1}
    assert [one.name for one in tmp_path.iterdir()] == ['x.pth']


def test_a_checkpoint_is_for_whom_the_umask_allows(tmp_path):
    before = os.umask(0o027)
    try:
        save_whole({'a': 1}, tmp_path / 'x.pth')
    finally:
        os.umask(before)
    assert (tmp_path / 'x.pth').stat().st_mode & 0o777 == 0o640


def test_the_best_checkpoint_keeps_the_mean_iou_and_has_the_highest_average_precision():
    start = Scores(0.1, 0.6, 0.7, 0.01, mean_iou=0.50)
    good = Scores(0.4, 0.3, 0.9, 0.01, mean_iou=0.495)
    assert good.is_better(None, start, 0.01)
    assert not Scores(0.9, 0.1, 0.9, 0.01, mean_iou=0.48).is_better(good, start, 0.01)
    assert not Scores(0.3, 0.1, 0.9, 0.01, mean_iou=0.6).is_better(good, start, 0.01)
    assert Scores(0.5, 0.4, 0.9, 0.01, mean_iou=0.491).is_better(good, start, 0.01)


def test_workers_are_copies_of_the_process_on_any_python():
    samples = TrainingSamples(MixedSamples([SceneSamples(2)]), with_clean=False)
    loader = make_training_loader(samples, RunBatches(2, 1, 1), workers=1)
    assert loader.multiprocessing_context.get_start_method() == 'fork'
    assert make_training_loader(samples, RunBatches(2, 1, 1), workers=0).num_workers == 0


def test_more_ranks_than_validation_frames_are_refused():
    with pytest.raises(ValueError, match='must have a frame for each rank, got 3 for 4. Raise'):
        make_validation_loader([1, 2, 3], rank=0, world=4)
