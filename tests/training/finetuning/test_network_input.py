"""Networks normalised in different ways: each sees the colours that it was trained with."""

from dataclasses import replace

from meta_ood_ros.core.networks import build_network
from meta_ood_training.finetuning.config import NetworkConfig
from meta_ood_training.finetuning.loop.module import FinetuneModule
from meta_ood_training.finetuning.loop.starting_network import open_networks
from meta_ood_training.finetuning.training_run import finetune
import numpy as np
import pytest
import torch

EDGETPU = 'deeplabv3plus_mobilenet_edgetpu'


def test_network_and_teacher_see_their_own_normalisation(tmp_path, small_config):
    network = build_network(EDGETPU, num_classes=19)
    teacher = build_network('efficientvit_seg_b0', num_classes=19)
    module = FinetuneModule(
        network,
        small_config(),
        np.zeros((1, 19), bool),
        teacher=teacher,
        steps=1,
        batches_per_epoch=1,
    )
    images = torch.tensor([0, 128, 255], dtype=torch.uint8).expand(1, 1, 1, 3)
    own = module.to_input(images).flatten()
    torch.testing.assert_close(own, torch.tensor([-1.0, 0.0, 127 / 128]), rtol=0, atol=1e-6)
    # (128 / 255 - 0.456) / 0.224 in the middle
    expected = torch.tensor([-0.485 / 0.229, 0.205182, (1 - 0.406) / 0.225])
    torch.testing.assert_close(module.to_input(images, teacher).flatten(), expected)


@pytest.mark.parametrize(
    ('name', 'arguments'),
    [(EDGETPU, {'decoder_channels': 8, 'is_centred': True}), ('efficientvit_seg_b0', {})],
)
def test_a_run_starts_from_a_published_file(
    tmp_path, small_config, quiet, save_numbered, name, arguments
):
    path = tmp_path / ('weights.npz' if name == EDGETPU else 'weights.pt')
    published = build_network(name, num_classes=19)
    if name == EDGETPU:
        save_numbered(published, path)
    else:
        torch.save({'state_dict': published.state_dict()}, path)
    config = small_config(max_steps=1, average_decay=0.0)
    config = replace(
        config,
        network=NetworkConfig(name, arguments, 19, 'start'),
        data=dict(config.data) | {'start': str(path)},
    )
    network, _ = open_networks(config)
    own = network.state_dict()
    assert all(torch.equal(own[key], value) for key, value in published.state_dict().items())
    finetune(config, tmp_path / 'run', **quiet)
    facts = torch.load(tmp_path / 'run' / 'final.pth', weights_only=True)
    assert facts['state_dict'].keys() == own.keys()
    moved = [key for key, value in facts['state_dict'].items() if not torch.equal(value, own[key])]
    assert moved
