"""ESPNetv2 against the published weights and logits, and against what its definition implies."""

from meta_ood_ros.core.networks import build_network, cityscapes_19, load_checkpoint, load_weights
import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, interpolate

DIGEST = 'ac320cc6aa2c94e7623681d7f23e6523406f224f29f8e5601f02c0d1d93c7c05'
WEIGHTS = 'weights/espnetv2_s_2.0_city_1024x512.pth'
# Logits [::5, ::16, ::24] in float64 for rule weights and noise(1, 3, 64, 96); their std is 0.124.
RULE_LOGITS = (
    *(-0.17824, -0.19352, -0.18904, -0.21682, -0.09566, -0.10209, -0.11959, -0.12269),
    *(0.03479, 0.08453, 0.04737, 0.11479, -0.0261, -0.01829, -0.01978, -0.01953),
)


@pytest.fixture(scope='module')
def published(shared_data):
    return load_checkpoint(shared_data / WEIGHTS)


@pytest.fixture(scope='module')
def recorded(shared_data):
    with np.load(shared_data / 'parity/espnetv2_city.npz') as file:
        return {name: torch.from_numpy(file[name]) for name in ('x', 'logits')}


def test_names_and_shapes_are_the_published_ones(key_lines, digest):
    lines = key_lines(build_network('espnet_v2', num_classes=20, scale=2.0))
    assert len(lines) == 526
    assert digest(lines) == DIGEST


def test_names_equal_the_reference_list(key_lines, reference_dir):
    lines = (reference_dir / 'keys_ESPNetv2_s2.0_city.txt').read_text().splitlines()
    assert key_lines(build_network('espnet_v2', num_classes=20)) == sorted(lines)


def test_published_weights_give_the_published_logits(published, recorded):
    network = build_network('espnet_v2', num_classes=20).eval()
    load_weights(network, published, source=WEIGHTS)
    with torch.inference_mode():
        logits = network(recorded['x'][None])
    assert logits.shape == (1, 20, 96, 128)
    size = recorded['logits'].shape[-2:]
    upsampled = interpolate(logits, size, mode='bilinear', align_corners=network.align_corners)
    difference = (upsampled[0] - recorded['logits']).abs().max()
    assert difference <= 1e-4 * recorded['logits'].std()


def test_nineteen_classes_are_the_first_nineteen_of_twenty(published, recorded):
    twenty = build_network('espnet_v2', num_classes=20).eval()
    load_weights(twenty, published, source=WEIGHTS)
    nineteen = build_network('espnet_v2', num_classes=19).eval()
    load_weights(nineteen, cityscapes_19(published), source=WEIGHTS)
    x = recorded['x'][None]
    with torch.inference_mode():
        assert torch.equal(nineteen(x), twenty(x)[:, :19])
    assert published['bu_dec_l4.merge_layer.3.bias'].shape == (20,)  # the input is left alone


def test_only_twenty_outputs_can_be_converted():
    state_dict = build_network('espnet_v2', num_classes=19, scale=0.5).state_dict()
    with pytest.raises(ValueError, match=r'must have 20 rows, got 19\. Give the published'):
        cityscapes_19(state_dict)
    with pytest.raises(ValueError, match=r'must have 20 rows, got 0'):
        cityscapes_19({})


def test_rule_weights_give_the_logits_of_the_checked_forward_pass(fill_by_rule, noise):
    """Values of the code that passed the parity test: they guard it where the data is absent."""
    network = build_network('espnet_v2', num_classes=20).eval()
    fill_by_rule(network)
    with torch.inference_mode():
        logits = network(noise(1, 3, 64, 96))[0]
    assert logits.shape == (20, 32, 48)
    expected = torch.tensor(RULE_LOGITS)
    torch.testing.assert_close(logits[::5, ::16, ::24].flatten(), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(('height', 'width'), [(16, 16), (65, 97), (33, 130), (1, 1)])
def test_logits_have_half_the_sides_rounded_up(noise, height, width):
    network = build_network('espnet_v2', num_classes=3, scale=0.5).eval()
    with torch.inference_mode():
        logits = network(noise(1, 3, height, width))
    assert logits.shape == (1, 3, -(-height // 2), -(-width // 2))
    assert logits.isfinite().all()


@pytest.mark.parametrize('scale', [0.5, 1.0, 1.25, 1.5])
def test_other_widths_train_with_a_batch_of_two(noise, scale):
    network = build_network('espnet_v2', num_classes=5, scale=scale)
    target = torch.arange(2 * 32 * 32).reshape(2, 32, 32) % 5
    cross_entropy(network(noise(2, 3, 64, 64)), target).backward()
    trainable = {k: p for k, p in network.named_parameters() if p.requires_grad}
    frozen = {k for k, p in network.named_parameters() if not p.requires_grad}
    assert frozen == {f'base_net.level{i}_0.eesp.module_act.weight' for i in (2, 3, 4)}
    without = [k for k, p in trainable.items() if p.grad is None or not p.grad.any()]
    assert without == []
    assert network.base_net.level1.bn.num_batches_tracked == 1


def test_each_image_of_a_batch_is_seen_alone(fill_by_rule, noise):
    network = build_network('espnet_v2', num_classes=4, scale=0.5).eval()
    fill_by_rule(network)
    batch = noise(2, 3, 48, 64)
    with torch.inference_mode():
        together = network(batch)
        alone = torch.cat([network(batch[:1]), network(batch[1:])])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_double_precision_agrees_with_single(fill_by_rule, noise):
    network = build_network('espnet_v2', num_classes=4, scale=0.5).eval()
    fill_by_rule(network)
    x = noise(1, 3, 64, 64)
    with torch.inference_mode():
        single = network(x)
        double = network.double()(x.double())
    assert double.dtype == torch.float64
    assert (single - double).abs().max() <= 1e-4 * double.std()


def test_unknown_width_is_refused():
    match = r'scale must be one of 0\.5, 1\.0, 1\.25, 1\.5, 2\.0, got 3\.0\. Use a published'
    with pytest.raises(ValueError, match=match):
        build_network('espnet_v2', num_classes=19, scale=3.0)
