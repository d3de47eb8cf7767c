"""What a resynthesis is made of: swaps, features, generator, discrepancy, ensemble, steps."""

from itertools import product
from math import comb

from meta_ood_ros.core.networks import build_network
from meta_ood_training.methods.resynthesis.class_maps import (
    class_maps,
    class_shares,
    resynthesis_grid,
)
from meta_ood_training.methods.resynthesis.comparison import compare
from meta_ood_training.methods.resynthesis.discrepancy import DiscrepancyNetwork
from meta_ood_training.methods.resynthesis.ensemble import search_weights, simplex
from meta_ood_training.methods.resynthesis.feature_levels import (
    FeatureLevels,
    level_differences,
    perceptual_difference,
)
from meta_ood_training.methods.resynthesis.generator import SpadeGenerator
from meta_ood_training.methods.resynthesis.label_swaps import swap_labels
from meta_ood_training.methods.resynthesis.settings import ResynthesisSettings
from meta_ood_training.methods.resynthesis.stages import masked_loss
from meta_ood_training.methods.resynthesis.training_steps import train
import numpy as np
import pytest
from sklearn.metrics import average_precision_score
import torch

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
STREET = np.array(
    [
        [2, 2, 2, 2, 2, 2],
        [2, 7, 2, 2, 7, 7],  # the 7 on the left is one pixel
        [2, 2, 2, 7, 2, 2],  # touches the pair above it by a corner
        [2, 2, 2, 2, 2, 2],
    ],
    np.uint8,
)


def swapped(share=1.0, smallest=0.05, largest=0.5, classes=(2, 7), seed=0):
    rng = np.random.default_rng(seed)
    return swap_labels(
        STREET, rng, classes=classes, share=share, smallest=smallest, largest=largest
    )


def test_a_swap_takes_whole_segments_of_the_sizes_allowed():
    # of 24 pixels: 20 of class 2 are too many, 1 of class 7 too few, 3 of class 7 just right
    found, is_swapped = swapped()
    expected = np.zeros(STREET.shape, bool)
    expected[1, 4:] = expected[2, 3] = True
    assert np.array_equal(is_swapped, expected)
    assert np.array_equal(found, np.where(expected, 2, STREET))
    everything, is_swapped = swapped(smallest=0, largest=1)
    assert is_swapped.all()
    assert np.array_equal(everything, np.where(STREET == 2, 7, 2))


def test_a_swap_draws_each_other_class_and_each_segment_by_chance():
    names, swaps = set(), 0
    for seed in range(200):
        found, is_swapped = swapped(share=0.3, classes=(2, 5, 7, 9), seed=seed)
        names |= set(found[is_swapped].tolist())
        swaps += bool(is_swapped.any())
    assert names == {2, 5, 9}
    assert 40 <= swaps <= 80  # binomial, 60 and 6.5


def test_a_swap_needs_two_classes():
    with pytest.raises(ValueError, match=r'at least two classes .*, got \[2\]. Add frames'):
        swapped(classes=(2,))


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    return build_network('espnet_v2', num_classes=5, scale=0.5).eval()


@pytest.fixture(scope='module')
def levels(network):
    return FeatureLevels(network, mean=MEAN, std=STD)


def test_the_features_are_the_ends_of_the_stages_of_the_encoder(network, levels):
    assert levels.channels == (16, 32, 64, 128)
    torch.manual_seed(1)
    image = torch.rand(1, 3, 64, 96)
    mean, std = (torch.tensor(one).view(1, 3, 1, 1) for one in (MEAN, STD))
    with torch.no_grad():
        expected = network.base_net((image - mean) / std)
        found = levels(image)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_gradients_reach_the_image_and_no_parameter(network, levels):
    image = torch.full((1, 3, 32, 32), 0.5, requires_grad=True)
    torch.stack([one.abs().mean() for one in levels(image)]).sum().backward()
    assert float(image.grad.abs().sum()) > 0
    assert all(one.grad is None for one in network.parameters())


@pytest.mark.parametrize(
    'name',
    ['deeplabv3plus_mobilenet_v2', 'efficientvit_seg_b0', 'deeplabv3plus_mobilenet_edgetpu'],
)
def test_other_networks_have_a_level_a_stride(name):
    levels = FeatureLevels(build_network(name, num_classes=5), mean=MEAN, std=STD)
    found = levels(torch.rand(1, 3, 64, 96))
    assert [tuple(one.shape[-2:]) for one in found] == [(32, 48), (16, 24), (8, 12), (4, 6)]
    assert [one.shape[1] for one in found] == list(levels.channels)


def test_an_onnx_file_has_no_gradients():
    from meta_ood_ros.core.networks import OnnxNetwork

    with pytest.raises(
        ValueError, match='needs gradients of the network, got one that is an ONNX'
    ):
        FeatureLevels(object.__new__(OnnxNetwork), mean=MEAN, std=STD)


def test_the_perceptual_difference_is_relative_and_nothing_between_equals():
    one = [torch.full((1, 2, 4, 6), 2.0), torch.full((1, 3, 2, 3), -4.0)]
    other = [torch.full((1, 2, 4, 6), 3.0), torch.full((1, 3, 2, 3), -4.0)]
    assert [float(x.mean()) for x in level_differences(one, other)] == [0.5, 0.0]
    found = perceptual_difference(one, other, (8, 12))
    assert torch.equal(found, torch.full((1, 1, 8, 12), 0.25))
    tenfold = [[10 * x for x in side] for side in (one, other)]
    torch.testing.assert_close(perceptual_difference(*tenfold, (8, 12)), found)
    assert not perceptual_difference(one, one, (8, 12)).any()


class Perfect(torch.nn.Module):
    """A generator that knows the image."""

    num_classes = 5

    def __init__(self, image):
        super().__init__()
        self.image = image

    def forward(self, semantics):
        return self.image


def test_a_perfect_resynthesis_differs_nowhere(levels):
    torch.manual_seed(2)
    image, semantics = torch.rand(1, 3, 32, 48), torch.zeros(32, 48, dtype=torch.int64)
    same = compare(levels, Perfect(image), image, semantics)
    half = torch.full((32, 48), 0.5)
    assert not same.perceptual.any()
    expected = torch.stack([half, half, torch.zeros(32, 48)])[None]
    assert torch.equal(same.uncertainty(half, half, 0.1), expected)
    other = compare(levels, Perfect(image.flip(3)), image, semantics)
    assert float(other.perceptual.mean()) > 0.05
    assert float(other.uncertainty(half, half, 1e-6)[0, 2].max()) == 1.0  # clipped


def test_the_class_maps_of_sure_and_unsure_pixels():
    logits = torch.zeros(4, 2, 2)
    logits[2, 0] = 40.0  # above sure of class 2, below all alike
    maps = class_maps(logits, (2, 2), align_corners=True)
    assert maps.semantics.tolist() == [[2, 2], [0, 0]]
    torch.testing.assert_close(maps.entropy, torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    torch.testing.assert_close(maps.distance, torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    shares = class_shares(maps.semantics, 4)
    assert shares.shape == (1, 4, 2, 2)
    assert torch.equal(shares.argmax(1)[0], maps.semantics)
    assert torch.equal(shares.sum(1), torch.ones(1, 2, 2))


def test_the_grid_is_a_share_of_the_work_grid_in_strides():
    assert resynthesis_grid((512, 688), 0.5, 16) == (256, 352)  # 21.5 strides: to the even one
    assert resynthesis_grid((16, 32), 0.25, 16) == (16, 16)


@pytest.mark.parametrize('size', [(32, 48), (33, 50), (16, 16)])
def test_the_generator_gives_an_image_of_the_size_of_the_map(size):
    torch.manual_seed(0)
    with torch.no_grad():
        image = SpadeGenerator(3, width=4)(class_shares(torch.zeros(size), 3))
    assert image.shape == (1, 3, *size)
    assert 0 < float(image.min()) <= float(image.max()) < 1


def test_the_generator_learns_the_colours_of_classes():
    torch.manual_seed(0)
    generator = SpadeGenerator(3, width=4)
    colours = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]])
    optimizer = torch.optim.Adam(generator.parameters(), 5e-3)
    for _ in range(60):
        semantics = torch.randint(0, 3, (2, 4)).repeat_interleave(16, 0).repeat_interleave(16, 1)
        loss = (generator(class_shares(semantics, 3)) - painted(semantics, colours)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    semantics = torch.tensor([[0, 1, 2, 0], [2, 0, 1, 1]])
    semantics = semantics.repeat_interleave(16, 0).repeat_interleave(16, 1)
    with torch.no_grad():
        made = generator(class_shares(semantics, 3))
    # a grey of everything is 0.36 away
    assert float((made - painted(semantics, colours)).abs().mean()) < 0.12


def painted(semantics, colours):
    return colours[semantics].permute(2, 0, 1)[None]


@pytest.mark.parametrize('with_uncertainty', [False, True])
def test_the_discrepancy_network_gives_a_logit_a_pixel(levels, with_uncertainty):
    torch.manual_seed(0)
    network = DiscrepancyNetwork(levels.channels, 5, width=8, with_uncertainty=with_uncertainty)
    one, other = levels(torch.rand(1, 3, 32, 48)), levels(torch.rand(1, 3, 32, 48))
    shares = class_shares(torch.zeros(32, 48), 5)
    maps = torch.rand(1, 3, 32, 48)
    given = maps if with_uncertainty else None
    found = network(one, other, shares, given)
    assert found.shape == (1, 1, 32, 48)
    assert not torch.equal(found, network(other, one, shares, given))
    wrong = None if with_uncertainty else maps
    with pytest.raises(
        ValueError, match=r'must be given to a network that was built with it, got'
    ):
        network(one, other, shares, wrong)


def test_the_loss_counts_known_pixels_alone():
    logits = torch.zeros(1, 1, 2, 2)
    logits[0, 0, 0, 0] = 100.0
    wrong = torch.tensor([[True, False], [True, False]])
    assert float(masked_loss(logits, wrong, torch.tensor([[True, False], [False, False]]))) < 1e-40
    half = masked_loss(logits, wrong, torch.tensor([[False, True], [True, True]]))
    assert float(half) == pytest.approx(np.log(2))
    assert float(masked_loss(logits, wrong, torch.zeros(2, 2, dtype=torch.bool))) == 0


def test_the_weights_of_the_ensemble_are_those_of_brute_force():
    rng = np.random.default_rng(0)
    is_ood = rng.random(400) < 0.2
    scores = rng.random((3, 400)).astype(np.float32)
    scores[0] += 0.3 * is_ood
    scores[2] += 0.2 * is_ood
    scores = np.clip(scores / 1.3, 0, 1)
    weights, best = search_weights(scores, is_ood, steps=5)
    grid = [one for one in product(range(6), repeat=3) if sum(one) == 5]
    assert list(simplex(3, 5)) == grid
    found = [
        average_precision_score(is_ood, np.array(one, np.float32) / np.float32(5) @ scores)
        for one in grid
    ]
    assert best == pytest.approx(max(found), abs=1e-9)
    np.testing.assert_allclose(weights, np.array(grid[int(np.argmax(found))]) / 5, rtol=1e-6)
    assert weights[0] > weights[1]


def test_the_grid_of_weights_has_every_point_once():
    points = list(simplex(4, 10))
    assert len(points) == len(set(points)) == comb(13, 3)
    assert {sum(one) for one in points} == {10}


def line():
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1)
    )


def run_line(module, point, *, resume=False, steps=9, stop=None, identity='mine', rate=1e-2):
    def loss(step):
        if step == stop:
            raise KeyboardInterrupt
        inputs = torch.from_numpy(np.random.default_rng(step).normal(size=(6, 4))).float()
        return (module(inputs) - inputs.sum(1, keepdim=True)).square().mean()

    return train(
        module, loss, point, steps=steps, rate=rate, every=2, identity=identity, resume=resume
    )


@pytest.mark.parametrize('stop', [3, 4, 8])
def test_a_training_that_was_ended_goes_on_to_the_same_weights(tmp_path, stop):
    whole = line()
    losses = run_line(whole, tmp_path / 'whole')
    with pytest.raises(KeyboardInterrupt):
        run_line(line(), tmp_path / 'ended', stop=stop)
    resumed = line()
    with torch.no_grad():
        resumed[0].weight.zero_()  # nothing of the start may count
    assert run_line(resumed, tmp_path / 'ended', resume=True) == losses
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert len(losses) == 9
    assert (tmp_path / 'ended').read_bytes() == (tmp_path / 'whole').read_bytes()


def test_a_resume_point_of_another_run_is_refused(tmp_path):
    run_line(line(), tmp_path / 'point', steps=2)
    with pytest.raises(ValueError, match='must have the settings, network and data that it began'):
        run_line(line(), tmp_path / 'point', resume=True, identity='other')
    (tmp_path / 'point').write_bytes(b'no tensors')
    with pytest.raises(ValueError, match='must be a resume point of `resynthesis`, got'):
        run_line(line(), tmp_path / 'point', resume=True)


def test_a_training_that_diverges_is_not_kept(tmp_path):
    with pytest.raises(ValueError, match=r'loss must be finite, got (nan|inf) at step \d'):
        run_line(line(), tmp_path / 'point', rate=1e30)
    if (tmp_path / 'point').exists():
        assert b'NaN' not in (tmp_path / 'point').read_bytes()


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        ({'width': 0}, 'width must be at least 1, got 0'),
        ({'generator_steps': 0}, 'generator_steps must be at least 1, got 0'),
        ({'scale': 0.0}, r'scale must lie in \(0, 1\], got 0.0'),
        ({'swap_share': 1.5}, r'swap_share must lie in \(0, 1\], got 1.5'),
        ({'generator_rate': float('nan')}, r'generator_rate must lie in \(0, 1\], got nan'),
        ({'perceptual_weight': -1.0}, 'perceptual_weight must not be negative, got -1.0'),
        ({'smallest': 0.5, 'largest': 0.2}, 'smallest < largest, got 0.5 and 0.2'),
        ({'seed': -1}, 'seed must not be negative, got -1'),
    ],
)
def test_settings_that_cannot_be_meant(wrong, message):
    with pytest.raises(ValueError, match=message):
        ResynthesisSettings(**wrong)
