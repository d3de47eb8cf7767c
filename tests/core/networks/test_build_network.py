"""The one door to all networks: names, arguments, and what every network promises."""

from meta_ood_ros.core.networks import build_network, NETWORK_NAMES, OodNetwork
import pytest
import torch

# Smallest variant of each architecture: these tests are about the promises, not the weights. The
# WideResNet38 has no small variant; its own tests build it once.
SMALL: dict[str, dict] = {
    'espnet_v2': {'scale': 0.5},
    'deeplabv3plus_mobilenet_v2': {'width': 0.35, 'aspp_channels': 16},
    'deeplabv3plus_mobilenet_edgetpu': {'decoder_channels': 8},
    'dual_gcn_resnet50': {},
    'efficientvit_seg_b0': {},
}
# Grid of the logits for an input of 64 x 96; DualGCN's pooling rounds up.
GRIDS = {
    'espnet_v2': (32, 48),
    'deeplabv3plus_mobilenet_v2': (16, 24),
    'deeplabv3plus_mobilenet_edgetpu': (16, 24),
    'dual_gcn_resnet50': (9, 13),
    'efficientvit_seg_b0': (8, 12),
}


@pytest.fixture(params=sorted(SMALL))
def name(request) -> str:
    return request.param


def test_every_architecture_is_known():
    assert set(NETWORK_NAMES) == {*SMALL, 'deeplabv3plus_wide_resnet38'}


def test_attributes_and_grid(name, noise):
    network = build_network(name, num_classes=6, **SMALL[name])
    assert isinstance(network, OodNetwork)
    assert network.training
    assert network.num_classes == 6
    assert network.stride in (8, 16, 32)
    assert isinstance(network.align_corners, bool)
    with torch.inference_mode():
        logits = network.eval()(noise(1, 3, 64, 96))
    assert logits.shape == (1, 6, *GRIDS[name])
    assert logits.dtype == torch.float32


def test_state_dict_round_trip(name, noise):
    first = build_network(name, num_classes=4, **SMALL[name]).eval()
    second = build_network(name, num_classes=4, **SMALL[name]).eval()
    x = noise(1, 3, 64, 64)
    with torch.inference_mode():
        assert not torch.equal(first(x), second(x))
        second.load_state_dict(first.state_dict())
        assert torch.equal(first(x), second(x))


def test_forward_pass_leaves_the_world_alone(name, noise):
    network = build_network(name, num_classes=4, **SMALL[name]).eval()
    x = noise(1, 3, 64, 64)
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    before = (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads())
    generator = torch.get_rng_state()
    image = x.clone()
    with torch.inference_mode():
        network(x)
    assert torch.equal(x, image)
    assert torch.equal(torch.get_rng_state(), generator)
    assert before == (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads())
    assert all(torch.equal(weights[key], value) for key, value in network.state_dict().items())


def test_gradient_reaches_the_image(name, noise):
    network = build_network(name, num_classes=4, **SMALL[name]).eval()
    x = noise(1, 3, 64, 64).requires_grad_()
    network(x).square().mean().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_unknown_architecture_is_refused():
    with pytest.raises(ValueError, match=r"must be one of espnet_v2.*, got 'unet'\. Check"):
        build_network('unet', num_classes=19)


@pytest.mark.parametrize('num_classes', [1, 256, 0, -1, 19.0, True, '19'])
def test_impossible_class_count_is_refused(num_classes):
    with pytest.raises(ValueError, match=r'num_classes must be an integer in 2\.\.255, got '):
        build_network('espnet_v2', num_classes=num_classes)


def test_unknown_argument_is_refused():
    match = r"espnet_v2 takes the arguments scale, got 'width'\. Remove it"
    with pytest.raises(ValueError, match=match):
        build_network('espnet_v2', num_classes=19, width=2.0)
