"""Dropout: where it drops, how much, and that it leaves the network as it was."""

from meta_ood_ros.core.networks import build_network
from meta_ood_training.methods import METHODS, Setup
from meta_ood_training.methods.bayesian.mc_dropout import (
    dropout_places,
    dropping,
    McDropoutInformationScorer,
    McDropoutScorer,
)
from meta_ood_training.methods.own_pass import OwnPass
import numpy as np
import pytest
import torch
from torch import nn


class OneLayer(nn.Module):
    """Two logits, each the sum of the red values over a hidden plane."""

    stride, align_corners = 1, False
    input_mean, input_std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def __init__(self, own=False):
        super().__init__()
        self.drop = nn.Dropout(0.5) if own else nn.Identity()
        self.last = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.last.weight.copy_(torch.tensor([[4.0, 0, 0], [0, 1.0, 0]]).view(2, 3, 1, 1))

    def forward(self, x):
        return self.last(self.drop(x))


def white(height=40, width=50):
    return np.full((height, width, 3), 255, dtype=np.uint8)


@pytest.mark.parametrize('own', [False, True])
def test_dropped_values_keep_their_mean_and_their_share(own):
    network = OneLayer(own).eval()
    places = dropout_places(network, 0.2)
    assert places == ({'drop': (True, 0.5)} if own else {'last': (False, 0.2)})
    share = 0.5 if own else 0.2
    x = torch.ones(1, 3, 200, 200)
    with dropping(network, places, torch.Generator().manual_seed(0)), torch.no_grad():
        logits = network(x)[0]
    assert (logits[0] == 0).float().mean().item() == pytest.approx(share, abs=0.01)
    kept = 4.0 / (1 - share)
    torch.testing.assert_close(logits[0][logits[0] != 0].unique(), torch.tensor([kept]))
    assert logits[0].mean().item() == pytest.approx(4.0, abs=0.1)
    with torch.no_grad():
        assert (network(x)[0, 0] == 4.0).all()


def test_dropout_of_the_last_convolutions_where_a_network_has_none():
    network = build_network('espnet_v2', num_classes=4, scale=0.5).eval()
    places = dropout_places(network, 0.2)
    assert 'bu_dec_l4.merge_layer.3' in places
    assert len(places) == 3
    own = build_network('deeplabv3plus_mobilenet_v2', num_classes=4).eval()
    assert dropout_places(own, 0.2) == {'decoder.12': (True, own.get_submodule('decoder.12').p)}


def test_a_frame_gets_the_same_score_whatever_came_before():
    scorer = McDropoutScorer(OwnPass(OneLayer()), answers=8)
    first = scorer.score(white(), torch.zeros(2, 40, 50))
    scorer.score(white() // 3, torch.zeros(2, 40, 50))
    np.testing.assert_array_equal(scorer.score(white(), torch.zeros(2, 40, 50)), first)
    other = McDropoutScorer(OwnPass(OneLayer()), answers=8, seed=1)
    assert (other.score(white(), torch.zeros(2, 40, 50)) != first).any()
    assert not torch.equal(torch.rand(3), torch.rand(3))  # the global generator runs on


def test_both_measures_are_of_the_same_answers_and_each_is_told_their_time():
    network, asked = OneLayer(), []
    network.register_forward_hook(lambda *_: asked.append(1))
    options = {'answers': 6, 'seed': 2}
    alone = [
        scorer(OwnPass(OneLayer()), **options).score(white(), None)
        for scorer in (McDropoutScorer, McDropoutInformationScorer)
    ]
    entropy = McDropoutScorer(OwnPass(network), **options)
    information = McDropoutInformationScorer(OwnPass(network), **options)
    third = McDropoutScorer(OwnPass(network), answers=6, seed=3)
    asked.clear()  # each looks once for where values can be dropped
    np.testing.assert_array_equal(entropy.score(white(), None), alone[0])
    assert (len(asked), entropy.shared_s) == (6, 0)
    np.testing.assert_array_equal(information.score(white(), None), alone[1])
    assert len(asked) == 6
    assert information.shared_s > 0
    information.score(white(height=41), None)  # another image, then other answers
    assert (len(asked), information.shared_s) == (12, 0)
    third.score(white(height=41), None)
    assert len(asked) == 18


def test_less_dropout_is_less_mutual_information():
    found = [
        McDropoutInformationScorer(OwnPass(OneLayer()), answers=16, share=share)
        .score(white(), torch.zeros(2, 40, 50))
        .mean()
        for share in (0.5, 0.1, 1e-6)
    ]
    assert found[0] > found[1] > found[2]
    assert found[2] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize('name', ['mc_dropout_entropy', 'mc_dropout_mutual_information'])
def test_it_is_built_from_a_bundle(tiny_bundle, name):
    scorer = METHODS[name].build(Setup(tiny_bundle, tiny_bundle.build_network(), seed=3))
    assert (scorer.name, scorer.seed) == (name, 3)
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    scores = scorer.score(image, torch.zeros(19, 32, 48))
    assert scores.shape == (64, 96)
    assert 0 <= scores.min() < scores.max() <= 1


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match='answers of MC dropout must be at least 2, got 1'):
        McDropoutScorer(OwnPass(OneLayer()), answers=1)
    with pytest.raises(ValueError, match=r'share of MC dropout must lie in \(0, 1\), got 1'):
        McDropoutScorer(OwnPass(OneLayer()), share=1)
