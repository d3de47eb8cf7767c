"""DeepLabv3+ with WideResNet38: the published names and the published forward pass."""

from meta_ood_ros.core.networks import build_network
import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, interpolate

NAME = 'deeplabv3plus_wide_resnet38'
DIGEST = 'dcb66368f24a69b2724b907507e284148b73fca5e07b7c00d7daa6bdd1121e23'
# Float64 logits [::6, ::8, ::12] for rule weights and noise(1, 3, 32, 48), by the code that
# passed the parity test.
RULE_LOGITS = (
    *(-0.07277, -0.08542, -0.0638, -0.02354, 0.01807, 0.00977, 0.01854, 0.02883),
    *(-0.08961, -0.07215, -0.12805, -0.05773, -0.04725, -0.06691, 0.00113, -0.04351),
)


def _on_meta(num_classes: int = 19):
    with torch.device('meta'):
        return build_network(NAME, num_classes=num_classes)


@pytest.fixture(scope='module')
def rule_network(fill_by_rule):
    """Return the network with the weights of the parity rule; 137 M of them, 0.55 GB."""
    network = _on_meta().to_empty(device='cpu').eval().requires_grad_(False)
    fill_by_rule(network)
    return network


def test_names_and_shapes_are_the_published_ones(key_lines, digest):
    network = _on_meta()
    lines = key_lines(network)
    assert len(lines) == 268
    assert digest(lines) == DIGEST
    assert sum(parameter.numel() for parameter in network.parameters()) == 137_103_936


def test_names_equal_the_reference_list(key_lines, reference_dir):
    lines = (reference_dir / 'keys_DeepWV3Plus.txt').read_text().splitlines()
    assert key_lines(_on_meta()) == sorted(lines)


@pytest.mark.parametrize(
    ('level', 'count'),
    [
        ('mod1', 1_728),
        ('mod2', 820_608),
        ('mod3', 3_279_616),
        ('mod4', 27_274_752),
        ('mod5', 26_484_736),
        ('mod6', 9_442_304),
        ('mod7', 37_758_976),
        ('aspp', 30_411_264),
        ('bot_fine', 6_144),
        ('bot_aspp', 327_680),
        ('final', 1_296_128),
    ],
)
def test_parameters_of_each_level(level, count):
    assert sum(p.numel() for p in getattr(_on_meta(), level).parameters()) == count


def test_class_count_changes_the_last_layer_only(key_lines):
    changed = set(key_lines(_on_meta(num_classes=7))) - set(key_lines(_on_meta()))
    assert changed == {'final.6.weight\t(7, 256, 1, 1)'}


@pytest.mark.slow
def test_rule_weights_give_the_published_logits(rule_network, shared_data):
    with np.load(shared_data / 'parity/deepwv3plus.npz') as file:
        x, expected = torch.from_numpy(file['x']), torch.from_numpy(file['logits'])
    with torch.inference_mode():
        logits = rule_network(x[None])
    assert logits.shape == (1, 19, 48, 80)
    size = expected.shape[-2:]
    align_corners = rule_network.align_corners
    upsampled = interpolate(logits, size, mode='bilinear', align_corners=align_corners)
    assert (upsampled[0] - expected).abs().max() <= 1e-4 * expected.std()


@pytest.mark.slow
def test_rule_weights_give_the_logits_of_the_checked_forward_pass(rule_network, noise):
    with torch.inference_mode():
        logits = rule_network(noise(1, 3, 32, 48))[0]
    expected = torch.tensor(RULE_LOGITS)
    torch.testing.assert_close(logits[::6, ::8, ::12].flatten(), expected, rtol=0, atol=2e-5)


@pytest.mark.slow
def test_odd_sides_are_rounded_up(rule_network, noise):
    with torch.inference_mode():
        assert rule_network(noise(1, 3, 17, 33)).shape == (1, 19, 9, 17)


@pytest.mark.slow
def test_trains_with_a_batch_of_two(noise):
    network = build_network(NAME, num_classes=3)
    target = torch.arange(2 * 8 * 8).reshape(2, 8, 8) % 3
    cross_entropy(network(noise(2, 3, 16, 16)), target).backward()
    without = [k for k, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
