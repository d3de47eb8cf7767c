"""Folding is exact: same function, fewer layers, original untouched."""

import copy

from meta_ood_ros.core.backends.fold import fold_batch_norms
from meta_ood_ros.core.backends.fold_pyramid import FoldedPyramidPool
from meta_ood_ros.core.networks import build_network
from meta_ood_ros.core.networks.espnet_units import PyramidPool
import pytest
import torch
from torch import nn


def _lively(network: nn.Module) -> nn.Module:
    """Give every normalisation statistics that folding cannot get right by chance."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for entry, low in (('running_mean', -1.0), ('running_var', 0.5)):
                if module.track_running_stats:
                    getattr(module, entry).uniform_(low, low + 2.0, generator=generator)
            if module.affine:
                module.weight.data.uniform_(0.5, 2.0, generator=generator)
                module.bias.data.uniform_(-1.0, 1.0, generator=generator)
    return network.eval()


def _count(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in network.modules())


def test_by_hand():
    conv, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.0)
    conv.weight.data.fill_(3.0)
    conv.bias.data.fill_(1.0)
    norm.running_mean.fill_(2.0)
    norm.running_var.fill_(4.0)
    norm.weight.data.fill_(5.0)
    norm.bias.data.fill_(7.0)
    folded = fold_batch_norms(nn.Sequential(conv, norm).eval())
    # 5 (3 x + 1 - 2) / 2 + 7 = 7.5 x + 4.5
    assert folded[0].weight.item() == 7.5
    assert folded[0].bias.item() == 4.5
    assert isinstance(folded[1], nn.Identity)


@pytest.mark.parametrize(
    ('layers', 'left'),
    [
        ([nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)], 0),
        ([nn.Conv2d(3, 6, 3, stride=2, groups=3), nn.BatchNorm2d(6, affine=False)], 0),
        ([nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4), nn.PReLU(4))], 0),
        ([nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, padding=1)], 1),  # padding forbids it
        ([nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)], 1),
        ([nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)], 1),
        ([nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)], 1),
    ],
)
def test_same_function(layers, left):
    network = _lively(nn.Sequential(*copy.deepcopy(layers))).double()
    x = torch.linspace(-1, 1, 2 * 3 * 8 * 8, dtype=torch.float64).reshape(2, 3, 8, 8)
    before = copy.deepcopy(network.state_dict())
    folded = fold_batch_norms(network)
    assert _count(folded) == left
    torch.testing.assert_close(folded(x), network(x), rtol=1e-12, atol=1e-12)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_one_dimensional_convolution():
    network = _lively(nn.Sequential(nn.Conv1d(3, 4, 1), nn.BatchNorm1d(4))).double()
    x = torch.linspace(-1, 1, 30, dtype=torch.float64).reshape(1, 3, 10)
    torch.testing.assert_close(fold_batch_norms(network)(x), network(x))
    assert _count(fold_batch_norms(network)) == 0


def test_real_network_keeps_its_logits(tiny_network, tiny_image):
    folded = fold_batch_norms(tiny_network)
    assert _count(folded) < _count(tiny_network) / 2
    expected = tiny_network(tiny_image)
    assert (folded(tiny_image) - expected).abs().max() <= 1e-5 * expected.std()


@pytest.mark.parametrize(
    ('name', 'arguments'),
    [('efficientvit_seg_b0', {}), ('deeplabv3plus_mobilenet_edgetpu', {'decoder_channels': 8})],
)
def test_no_normalisation_is_left(name, arguments):
    generator = torch.Generator().manual_seed(5)
    network = _lively(build_network(name, num_classes=5, **arguments)).double()
    for conv in network.modules():
        if isinstance(conv, nn.Conv2d) and not conv.weight.any():  # a new decoder adds nothing
            conv.weight.data.normal_(generator=generator)
    assert _count(network) > 0
    folded = fold_batch_norms(network)
    assert _count(folded) == 0
    x = torch.randn(1, 3, 64, 96, generator=generator, dtype=torch.float64)
    expected = network(x)
    assert (folded(x) - expected).abs().max() <= 1e-9 * expected.std()


@pytest.mark.parametrize('size', [(6, 8), (7, 13), (2, 3), (33, 40)])
@pytest.mark.parametrize('is_last', [False, True])
def test_pyramid_is_the_same_function(size, is_last):
    """In float64, where only a wrong formula could differ: any size, both kinds of last layer."""
    generator = torch.Generator().manual_seed(5)
    pool = _lively(PyramidPool(6, 19, is_last=is_last))
    for module in pool.modules():
        if isinstance(module, nn.PReLU):
            module.weight.data.uniform_(-1.0, 2.0, generator=generator)
    network = nn.Sequential(pool).double().eval()
    x = torch.randn(2, 6, *size, generator=generator, dtype=torch.float64)
    folded = fold_batch_norms(network)
    assert isinstance(folded[0], FoldedPyramidPool)
    assert _count(folded) == 0
    expected = network(x)
    torch.testing.assert_close(folded(x), expected, rtol=1e-11, atol=1e-11)
    assert isinstance(network[0], PyramidPool)


def test_train_mode_is_refused():
    with pytest.raises(ValueError, match=r'must be in eval mode, got train mode.*Call eval'):
        fold_batch_norms(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)))
