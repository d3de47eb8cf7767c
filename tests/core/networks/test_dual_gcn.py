"""DualGCN ResNet-50: the published names and the published forward pass."""

from meta_ood_ros.core.networks import build_network
import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, interpolate

NAME = 'dual_gcn_resnet50'
DIGEST = 'f02294d95a76b965aeb0b9e30b0006a44c4f4632fb65e5a60233dbada7349fab'
# Float64 logits [::6, ::4, ::6] for rule weights and noise(1, 3, 32, 48), by the code that
# passed the parity test.
RULE_LOGITS = (
    *(-0.27852, -0.33526, -0.24019, -0.31314, 0.12061, 0.13569, 0.03651, 0.11977),
    *(-0.08465, -0.10517, -0.10076, -0.11005, -0.22999, -0.2261, -0.15026, -0.17548),
)


def _on_meta(num_classes: int = 19):
    with torch.device('meta'):
        return build_network(NAME, num_classes=num_classes)


@pytest.fixture(scope='module')
def rule_network(fill_by_rule):
    network = _on_meta().to_empty(device='cpu').eval().requires_grad_(False)
    fill_by_rule(network)
    return network


def test_names_and_shapes_are_the_published_ones(key_lines, digest):
    network = _on_meta()
    lines = key_lines(network)
    assert len(lines) == 432
    assert digest(lines) == DIGEST
    assert sum(parameter.numel() for parameter in network.parameters()) == 53_514_470


def test_names_equal_the_reference_list(key_lines, reference_dir):
    lines = (reference_dir / 'keys_DualSeg_res50.txt').read_text().splitlines()
    assert key_lines(_on_meta()) == sorted(lines)


def test_rule_weights_give_the_published_logits(rule_network, shared_data):
    with np.load(shared_data / 'parity/dualseg_res50.npz') as file:
        x, expected = torch.from_numpy(file['x']), torch.from_numpy(file['logits'])
    with torch.inference_mode():
        logits = rule_network(x[None])
    size = expected.shape[-2:]
    align_corners = rule_network.align_corners
    upsampled = interpolate(logits, size, mode='bilinear', align_corners=align_corners)
    assert (upsampled[0] - expected).abs().max() <= 1e-4 * expected.std()


def test_rule_weights_give_the_logits_of_the_checked_forward_pass(rule_network, noise):
    with torch.inference_mode():
        logits = rule_network(noise(1, 3, 32, 48))[0]
    expected = torch.tensor(RULE_LOGITS)
    torch.testing.assert_close(logits[::6, ::4, ::6].flatten(), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ('size', 'grid'),
    [((96, 160), (13, 21)), ((32, 48), (5, 7)), ((33, 47), (5, 7)), ((1, 1), (1, 1))],
)
def test_grid_rounds_up(rule_network, noise, size, grid):
    with torch.inference_mode():
        logits = rule_network(noise(1, 3, *size))
    assert logits.shape == (1, 19, *grid)
    assert logits.isfinite().all()


def test_each_image_of_a_batch_is_seen_alone(rule_network, noise):
    batch = noise(2, 3, 32, 32)
    with torch.inference_mode():
        together = rule_network(batch)
        alone = torch.cat([rule_network(batch[:1]), rule_network(batch[1:])])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_trains_with_a_batch_of_two(noise):
    network = build_network(NAME, num_classes=3)
    logits = network(noise(2, 3, 32, 32))
    target = torch.arange(2 * 5 * 5).reshape(2, 5, 5) % 3
    cross_entropy(logits, target).backward()
    frozen = {k.split('.')[0] for k, p in network.named_parameters() if not p.requires_grad}
    assert frozen == {'dsn'}  # the auxiliary classifier, whose output the authors drop
    trainable = {k: p for k, p in network.named_parameters() if p.requires_grad}
    without = [k for k, p in trainable.items() if p.grad is None or not p.grad.any()]
    assert without == []
