"""Two processes that share a batch get the gradients of one process that has it all."""

from dataclasses import asdict, replace
import json
import os
from pathlib import Path
import subprocess
import sys

import lightning
from meta_ood_ros.core.networks import build_network, load_checkpoint
from meta_ood_training.datasets.sample import IGNORED, OOD
from meta_ood_training.finetuning.loop.csv_rows import read_rows
from meta_ood_training.finetuning.loop.losses import entropy_maximization_loss
from meta_ood_training.finetuning.loop.starting_network import open_networks
from meta_ood_training.finetuning.training_run import finetune
import pytest
import torch
import torch.distributed as dist
from torch.nn.functional import interpolate
import yaml

KEY = 'base_net.level1.conv.weight'


def make_batch():
    """Two images on the first rank's side, two on the second's, with very different counts."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randn((4, 3, 64, 64), generator=generator)
    target = torch.randint(0, 19, (4, 64, 64), generator=generator).to(torch.uint8)
    target[0, :60] = IGNORED
    target[1, :, :50] = OOD
    target[2, :3, :3] = OOD
    return images, target


def gradients(network, images, target, normalization):
    logits = interpolate(network(images), (64, 64), mode='bilinear', align_corners=True)
    loss = entropy_maximization_loss(
        logits, target, ood_loss_weight=0.4, normalization=normalization
    )
    loss.total.backward()
    # ESPNetv2's published form has a few parameters that its forward pass never uses.
    return {key: value.grad for key, value in network.named_parameters() if value.grad is not None}


def make_network():
    torch.manual_seed(1)
    # Batch norm in eval mode; ESPNetv2 has no dropout.
    return build_network('espnet_v2', num_classes=19, scale=0.5).eval()


def work(rank, folder, normalization):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2
    )
    network = torch.nn.parallel.DistributedDataParallel(make_network())
    images, target = make_batch()
    mine = slice(2 * rank, 2 * rank + 2)
    found = gradients(network, images[mine], target[mine], normalization)
    if rank == 0:
        named = {key.removeprefix('module.'): value for key, value in found.items()}
        torch.save(named, Path(folder) / 'g')
    dist.barrier()
    # Not destroy_process_group and not the interpreter's own way out: on a busy machine a rank was
    # seen to wait for ever in gloo's threads once the other rank had gone.
    os._exit(0)


@pytest.mark.parametrize('normalization', ['per_term', 'all_pixels'])
def test_two_gloo_processes_have_the_gradients_of_one(tmp_path: Path, normalization):
    ranks = [
        subprocess.Popen([sys.executable, __file__, str(rank), str(tmp_path), normalization])
        for rank in (0, 1)
    ]
    assert [rank.wait(timeout=400) for rank in ranks] == [0, 0]
    shared = torch.load(tmp_path / 'g', weights_only=True)
    alone = gradients(make_network(), *make_batch(), normalization)
    assert shared.keys() == alone.keys()
    for key, value in alone.items():
        assert torch.allclose(
            shared[key], value, rtol=1e-4, atol=1e-6 * float(value.abs().max() + 1)
        ), key
    assert float(alone[KEY].abs().max()) > 0


def test_two_ranks_under_torchrun_end_with_the_weights_of_one(tmp_path, small_config, quiet):
    # Half the batch on each rank, batch norm in eval mode: the same step but for rounding.
    config = small_config(frozen_batch_norm=True, batch_size=4, max_steps=1, validation=True)
    finetune(config, tmp_path / 'alone', **quiet)
    halved = replace(config, training=replace(config.training, batch_size=2))
    path = tmp_path / 'run.yaml'
    path.write_text(yaml.safe_dump(json.loads(json.dumps(asdict(halved)))), encoding='utf-8')
    words = ['finetune', str(path), '--output', str(tmp_path / 'ranks')]
    launcher = ['-m', 'torch.distributed.run', '--nproc-per-node', '2', '--standalone']
    subprocess.run(
        [sys.executable, *launcher, '-m', 'meta_ood_training.cli', *words],
        check=True,
        timeout=300,
        capture_output=True,
        env={**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'},
    )
    alone = load_checkpoint(tmp_path / 'alone' / 'final.pth')
    ranks = load_checkpoint(tmp_path / 'ranks' / 'final.pth')
    start = make_start(config)
    agrees, changed = [], []
    for key, value in alone.items():
        if value.is_floating_point():
            moved = (value - start[key]).abs().flatten()
            apart = (ranks[key] - value).abs().flatten()
            agrees.append(apart <= 0.01 * moved)
            changed.append(moved > 0)
    # Adam's first step is of the size of the learning rate whatever the gradient is, so where a
    # gradient is little more than rounding its sign may differ.
    agrees, changed = torch.cat(agrees), torch.cat(changed)
    assert changed.float().mean() > 0.8
    assert agrees[changed].float().mean() > 0.9
    one, two = (read_rows(tmp_path / name / 'loss.csv')[0] for name in ('alone', 'ranks'))
    for column in one:  # of both ranks together, not of the first alone
        assert float(two[column]) == pytest.approx(float(one[column]), rel=1e-4), column
    one, two = (read_rows(tmp_path / name / 'validation.csv') for name in ('alone', 'ranks'))
    assert [len(one), one[0].keys()] == [len(two), two[0].keys()]
    for row, tolerance in (
        (0, 1e-3),
        (-1, 0.1),
    ):  # a sum in another order; then signs of tiny gradients
        for score, value in one[row].items():
            assert float(two[row][score]) == pytest.approx(float(value), rel=tolerance, abs=1e-6)


def make_start(config):
    lightning.seed_everything(config.training.seed, verbose=False)
    return open_networks(config)[0].state_dict()


if __name__ == '__main__':
    work(int(sys.argv[1]), sys.argv[2], sys.argv[3])
