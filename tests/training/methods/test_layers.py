"""Embeddings inside a network against what its own layers make of them."""

from meta_ood_ros.core.networks import build_network, NETWORK_NAMES
from meta_ood_training.methods.layers import (
    deep_layers,
    last_layer,
    LayerTap,
)
import pytest
import torch
from torch import nn


class TwoGrids(nn.Module):
    """A map at half size, then one at full size; activations work in place."""

    stride = 2

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.up = nn.Upsample(scale_factor=2)
        self.late = nn.ReLU(inplace=True)
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.last(self.late(self.up(self.act(self.down(x))) - 0.5))


def test_an_embedding_stands_before_its_activation_even_where_that_works_in_place():
    torch.manual_seed(0)
    network = TwoGrids()
    x = torch.randn(1, 3, 8, 8)
    logits, taken = LayerTap(network, ['act', 'late', 'down'])(x)
    before = network.down(x)
    assert (before < 0).any()
    torch.testing.assert_close(taken['act'], before)
    torch.testing.assert_close(taken['down'], before)
    torch.testing.assert_close(network.last(taken['late'].relu()), logits)
    torch.testing.assert_close(network(x), logits)
    assert not network.act._forward_pre_hooks


def test_the_last_activation_of_each_grid_is_found():
    network = TwoGrids()
    assert deep_layers(network) == ['late']
    network.late = nn.Sequential(nn.ReLU(), nn.ReLU())
    network.down = nn.Sequential(network.down, nn.ReLU())
    assert deep_layers(network) == ['late.1']  # of down.1, act, late.0, late.1 the later two
    network.up = nn.Sequential(nn.ReLU(), nn.ReLU(), network.up)
    assert deep_layers(network) == ['up.1', 'late.1']
    assert last_layer(network) == 'late.1'


def test_a_network_without_activations_asks_for_a_name():
    network = TwoGrids()
    network.act, network.late = nn.Identity(), nn.Identity()
    with pytest.raises(ValueError, match='must have an activation that is a module, got none'):
        last_layer(network)


@pytest.mark.parametrize('name', NETWORK_NAMES)
def test_every_network_has_a_layer_to_take(name):
    torch.manual_seed(0)
    network = build_network(name, num_classes=5).eval()
    x = torch.randn(1, 3, 4 * network.stride, 4 * network.stride)
    names = deep_layers(network)
    assert names[-1] == last_layer(network)
    with torch.no_grad():
        logits, taken = LayerTap(network, names)(x)
        torch.testing.assert_close(network(x), logits)
    assert all(one.shape[1] >= 10 and (one < 0).any() for one in taken.values())


def test_an_unknown_layer_names_the_nearest():
    with pytest.raises(ValueError, match="got 'lst'. Did you mean 'last'. Its"):
        LayerTap(TwoGrids(), ['lst'])


def test_a_layer_that_gives_no_map_is_refused():
    class Pooled(TwoGrids):
        def __init__(self):
            super().__init__()
            self.flat = nn.Flatten()

        def forward(self, x):
            self.flat(x)
            return super().forward(x)

    with pytest.raises(ValueError, match=r'must give a map \(N, D, h, w\), got \(1, 192\)'):
        LayerTap(Pooled(), ['flat'])(torch.zeros(1, 3, 8, 8))
