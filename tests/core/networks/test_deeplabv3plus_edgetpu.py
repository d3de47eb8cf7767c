"""DeepLabv3+ on MobileNet-EdgeTPU: the published logits, its decoder, and where its cells lie."""

from meta_ood_ros.core.image import to_network_input
from meta_ood_ros.core.networks import build_network, load_checkpoint, load_weights
from meta_ood_ros.core.networks.mobilenet_edgetpu import MobileNetEdgeTpu
from meta_ood_ros.core.networks.same_conv import SameConv
import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, interpolate

NAME = 'deeplabv3plus_mobilenet_edgetpu'
WEIGHTS = 'weights/edgetpu_deeplab_slim_cityscapes.npz'
DIGEST = '57c3ddb3718f7970245e4bad086e4a22e6e7a4a62d0b6a4c077878c9af4bfd30'
# Logits [::5, ::2, ::3] for rule weights and noise(1, 3, 64, 96) of the code that passed parity.
RULE_LOGITS = (
    *(-0.317, -0.31065, -0.28782, -0.31674, -0.17737, -0.15678, -0.16054, -0.15431),
    *(-0.23923, -0.23111, -0.22258, -0.23225, 0.07502, 0.05578, 0.07734, 0.08321),
)


@pytest.fixture(scope='module')
def published(shared_data):
    return load_checkpoint(shared_data / WEIGHTS)


@pytest.fixture(scope='module')
def recorded(shared_data):
    with np.load(shared_data / 'parity/edgetpu_deeplab_slim.npz') as file:
        return file['image'], torch.from_numpy(file['logits'])


def _input(network, image):
    mean, std = network.input_mean, network.input_std
    return to_network_input(image, image.shape[:2], mean=mean, std=std)


def _as_published(network) -> dict[str, torch.Tensor]:
    """Return the network's weights as the published file names them, with gaps in its numbers."""
    convs = [conv for conv in network.modules() if isinstance(conv, SameConv)]
    named = {}
    for i, conv in enumerate(convs):
        named[f'{2 * i:03}_weight'] = conv.weight.detach() + 1
        named[f'{2 * i:03}_bias'] = conv.bias.detach() + 1
    return named


def test_names_and_shapes_are_the_known_ones(key_lines, digest):
    lines = key_lines(build_network(NAME, num_classes=19))
    assert len(lines) == 2 * 62
    assert digest(lines) == DIGEST


def test_published_weights_give_the_published_logits(published, recorded):
    image, expected = recorded
    network = build_network(NAME, num_classes=19).eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == 2_055_379
    load_weights(network, published, source=WEIGHTS)
    with torch.inference_mode():
        logits = network(_input(network, image))[0]
    assert logits.shape == expected.shape
    assert (logits - expected).abs().max() <= 1e-5 * (expected.max() - expected.min())


def test_new_decoder_changes_nothing(published, recorded):
    image, expected = recorded
    network = build_network(NAME, num_classes=19, decoder_channels=32).eval()
    load_weights(network, published, source=WEIGHTS)
    with torch.inference_mode():
        logits = network(_input(network, image))[0]
    expected = interpolate(expected[None], (48, 64), mode='bilinear', align_corners=True)[0]
    assert logits.shape == expected.shape
    assert (logits - expected).abs().max() <= 1e-5 * (expected.max() - expected.min())


def test_input_is_the_published_normalisation():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    x = _input(build_network(NAME, num_classes=2), image)
    expected = (torch.arange(256.0) - 128) / 128
    torch.testing.assert_close(x[0, 0].flatten(), expected, rtol=0, atol=1e-6)


def test_rule_weights_give_the_logits_of_the_checked_forward_pass(fill_by_rule, noise):
    """Values of the code that passed the parity test: they guard it where the data is absent."""
    network = build_network(NAME, num_classes=19).eval()
    fill_by_rule(network)
    with torch.inference_mode():
        logits = network(noise(1, 3, 64, 96))[0]
    assert logits.shape == (19, 4, 6)
    expected = torch.tensor(RULE_LOGITS)
    torch.testing.assert_close(logits[::5, ::2, ::3].flatten(), expected, rtol=0, atol=2e-5)


def test_published_names_are_taken_in_their_order():
    network = build_network(NAME, num_classes=4, decoder_channels=8)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    published = _as_published(network)
    # the order within the file does not matter, the numbers do
    load_weights(network, dict(reversed(published.items())), source='test')
    for name, value in network.state_dict().items():
        change = 0 if name.startswith('decoder.') else 1
        assert torch.equal(value, before[name] + change)


def test_another_network_under_numbers_is_refused():
    network = build_network(NAME, num_classes=4)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    published = _as_published(network)
    fewer = {name: value for name, value in published.items() if not name.startswith('122')}
    match = r'must be those of the 62 convolutions of DeepLabV3Plus.*, got 61\. Give the file'
    with pytest.raises(ValueError, match=match):
        load_weights(network, fewer, source='test')
    other = published | {'002_weight': torch.ones(16, 8, 1, 1)}
    match = r'backbone\.first\.weight .* shape \(16, 24, 1, 1\), but test has \(16, 8, 1, 1\)'
    with pytest.raises(ValueError, match=match):
        load_weights(network, other, source='test')
    without_bias = {name: value for name, value in published.items() if name != '002_bias'}
    with pytest.raises(ValueError, match=r'test lacks .* and has 000_weight, 000_bias, .* more'):
        load_weights(network, without_bias, source='test')
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_own_weights_load_as_they_are():
    first = build_network(NAME, num_classes=4, decoder_channels=8)
    second = build_network(NAME, num_classes=4, decoder_channels=8)
    load_weights(second, first.state_dict(), source='test')
    assert torch.equal(second.decoder.fine[0].weight, first.decoder.fine[0].weight)
    part = first.state_dict()
    del part['decoder.fine.0.weight']
    with pytest.raises(ValueError, match=r'test lacks decoder\.fine\.0\.weight and'):
        load_weights(second, part, source='test')


def test_a_new_decoder_beside_trained_weights_changes_nothing():
    trained = build_network(NAME, num_classes=4).eval()
    network = build_network(NAME, num_classes=4, decoder_channels=8).eval()
    load_weights(network, trained.state_dict(), source='test')
    x = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        plain, decoded = trained(x), network(x)
    size, corners = decoded.shape[2:], network.align_corners
    upsampled = interpolate(plain, size, mode='bilinear', align_corners=corners)
    assert decoded == pytest.approx(upsampled, abs=1e-5)


@pytest.mark.parametrize(('height', 'width'), [(64, 96), (65, 97), (33, 130), (1, 1)])
@pytest.mark.parametrize(('channels', 'stride'), [(0, 16), (8, 4)])
@pytest.mark.parametrize('is_centred', [False, True])
def test_sides_are_rounded_up(noise, height, width, channels, stride, is_centred):
    network = build_network(
        NAME, num_classes=3, decoder_channels=channels, is_centred=is_centred
    ).eval()
    with torch.inference_mode():
        logits = network(noise(1, 3, height, width))
    assert logits.shape == (1, 3, -(-height // stride), -(-width // stride))
    assert logits.isfinite().all()


def test_gradient_reaches_every_weight(noise):
    network = build_network(NAME, num_classes=5, decoder_channels=8)
    target = torch.arange(2 * 16 * 16).reshape(2, 16, 16) % 5
    cross_entropy(network(noise(2, 3, 64, 64)), target).backward()
    own = [name for name, _ in network.named_parameters()]
    asleep = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    # the last layer is zero: what lies before it wakes up with the second step
    hidden = {n for n in own if n.startswith(('decoder.fine', 'decoder.refine'))}
    assert asleep == hidden
    with torch.no_grad():
        for parameter in network.parameters():
            parameter -= 0.01 * parameter.grad
    network.zero_grad()
    cross_entropy(network(noise(2, 3, 64, 64)), target).backward()
    assert [name for name, p in network.named_parameters() if not p.grad.any()] == []


def test_each_image_of_a_batch_is_seen_alone(fill_by_rule, noise):
    network = build_network(NAME, num_classes=4, decoder_channels=8).eval()
    fill_by_rule(network)
    batch = noise(2, 3, 48, 64)
    with torch.inference_mode():
        together = network(batch)
        alone = torch.cat([network(batch[:1]), network(batch[1:])])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ('is_centred', 'width', 'start'), [(True, 3072, 7), (False, 3072, 15), (False, 3073, 0)]
)
def test_a_cell_looks_at_its_pixels(is_centred, width, start):
    """With equal weights the gradient is symmetric about the pixel that a cell is centred on."""
    backbone = MobileNetEdgeTpu(is_centred=is_centred).double()
    for conv in backbone.modules():
        if isinstance(conv, SameConv):
            conv.weight.data.fill_(1 / conv.weight[0].numel())
    x = torch.ones(1, 3, 1, width, dtype=torch.float64, requires_grad=True)
    cell = 96
    backbone(x)[16][0, 0, 0, cell].backward()
    weight = x.grad[0, 0, 0]
    middle = (weight * torch.arange(width)).sum() / weight.sum()
    assert weight[0] == weight[-1] == 0  # the window lies within the image
    assert middle.item() == pytest.approx(16 * cell + start, abs=1e-6)


def test_upsampling_goes_with_the_padding():
    assert build_network(NAME, num_classes=2).align_corners is True
    assert build_network(NAME, num_classes=2, is_centred=True).align_corners is False


@pytest.mark.parametrize('width', [4, 10_000_000])
def test_decoder_of_a_width_that_none_has_is_refused(width):
    match = rf'decoder_channels must be 0 or from 8 to 4096, got {width}\. 0 is the published'
    with pytest.raises(ValueError, match=match):
        build_network(NAME, num_classes=19, decoder_channels=width)
