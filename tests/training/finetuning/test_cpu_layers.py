"""Layers with gradients of our own: the same numbers as PyTorch's, from any number of threads."""

import copy

from meta_ood_ros.core.networks import build_network
from meta_ood_training.finetuning.loop.cpu_layers import FastDepthwise, FastPrelu, speed_up_layers
import pytest
import torch
from torch import nn
from torch.nn import functional


def gradients(layer, x, weights):
    """Return output and the gradients of input and weight of a weighted sum of the output."""
    layer.weight.grad = None
    x = x.clone().requires_grad_()
    y = layer(x)
    (y * weights.to(y.dtype)).sum().backward()
    return y.detach(), x.grad, layer.weight.grad


def assert_like_float64(layer, x):
    exact = copy.deepcopy(layer).double()
    weights = torch.randn(layer(x).shape)
    ours = gradients(layer, x, weights)
    theirs = gradients(exact, x.double(), weights)
    for got, expected in zip(ours, theirs, strict=True):
        assert got.shape == expected.shape
        torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('channels_last', [True, False])
@pytest.mark.parametrize(
    ('size', 'stride', 'padding', 'dilation'),
    [(3, 1, 1, 1), (3, 2, 1, 1), (3, 2, 2, 2), (3, 1, 4, 4), (5, 3, 0, 1), (3, 1, 0, 2)],
)
def test_depthwise_gradients_are_those_of_float64(size, stride, padding, dilation, channels_last):
    torch.manual_seed(0)
    layer = FastDepthwise(9, 9, size, stride, padding, dilation, groups=9, bias=False)
    x = torch.randn(3, 9, 13, 10)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    assert_like_float64(layer, x)


def test_a_kernel_that_lies_mostly_outside_the_image():
    layer = FastDepthwise(8, 8, 3, 1, 6, 6, groups=8, bias=False)
    assert_like_float64(layer, torch.randn(1, 8, 4, 5))


def test_prelu_gradients_are_those_of_float64_also_at_zero():
    torch.manual_seed(0)
    layer = FastPrelu(6)
    layer.weight.data = torch.linspace(-0.5, 1.5, 6)
    x = torch.randn(2, 6, 7, 9)
    x[0, :, 0, 0] = 0
    assert_like_float64(layer, x)


def test_prelu_by_hand():
    layer = FastPrelu(2)
    layer.weight.data = torch.tensor([0.1, 0.5])
    x = torch.tensor([[[[-2.0, 3.0]], [[-4.0, 0.0]]]])
    _, x_gradient, slope_gradient = gradients(
        layer, x, torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    )
    torch.testing.assert_close(x_gradient, torch.tensor([[[[0.1, 2.0]], [[1.5, 2.0]]]]))
    torch.testing.assert_close(slope_gradient, torch.tensor([-2.0, -12.0]))


def test_threads_change_no_bit():
    torch.manual_seed(0)
    layer = FastDepthwise(16, 16, 3, 2, 1, 1, groups=16, bias=False)
    slopes = FastPrelu(16)
    x = torch.randn(5, 16, 20, 24)
    before = torch.get_num_threads()
    try:
        runs = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            runs.append(
                (
                    *gradients(layer, x, torch.ones(5, 16, 10, 12))[1:],
                    *gradients(slopes, x, torch.ones(x.shape))[1:],
                )
            )
    finally:
        torch.set_num_threads(before)
    for run in runs[1:]:
        assert all(torch.equal(one, other) for one, other in zip(run, runs[0], strict=True))


def test_a_network_keeps_its_names_parameters_and_gradients():
    torch.manual_seed(0)
    network = build_network('espnet_v2', num_classes=5, scale=0.5).eval()
    plain = copy.deepcopy(network)
    parameters = dict(network.named_parameters())
    assert speed_up_layers(network) > 100
    assert list(network.state_dict()) == list(plain.state_dict())
    assert all(one is parameters[name] for name, one in network.named_parameters())
    x = torch.randn(2, 3, 64, 96)
    for one in (network, plain):
        functional.log_softmax(one(x), 1).square().mean().backward()
    for (name, one), other in zip(network.named_parameters(), plain.parameters(), strict=True):
        if other.grad is None:
            assert one.grad is None, name
            continue
        scale = float(other.grad.abs().max()) + 1e-12
        assert float((one.grad - other.grad).abs().max()) < 1e-3 * scale, name


def test_only_what_has_a_twin_is_replaced():
    network = nn.Sequential(
        nn.Conv2d(8, 8, 3, groups=8),  # with bias
        nn.Conv2d(8, 8, 3, groups=4, bias=False),
        nn.Conv2d(8, 16, 3, groups=8, bias=False),
        nn.Conv2d(8, 8, (3, 1), groups=8, bias=False),
        nn.Conv2d(8, 8, 3, groups=8, bias=False, padding_mode='reflect'),
        nn.Conv2d(8, 8, 3, groups=8, bias=False, padding='same'),
        nn.PReLU(),
    )
    assert speed_up_layers(network) == 0


def test_without_gradients_a_layer_is_pytorchs():
    layer = FastDepthwise(8, 8, 3, 1, 1, 1, groups=8, bias=False)
    x = torch.randn(1, 8, 5, 6)
    with torch.no_grad():
        assert torch.equal(layer(x), functional.conv2d(x, layer.weight, None, 1, 1, 1, 8))
