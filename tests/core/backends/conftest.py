"""A tiny network and image for the tests of the backends."""

from meta_ood_ros.core.backends.onnx_export import to_onnx
from meta_ood_ros.core.networks import build_network, OodNetwork
import pytest
import torch
from torch import nn


@pytest.fixture(scope='session')
def tiny_network() -> OodNetwork:
    """Return an ESPNetv2 of the smallest width with lively batch-norm statistics, eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network('espnet_v2', num_classes=5, scale=0.5)
        network(torch.rand(4, 3, 64, 64))  # train mode: running statistics leave 0 and 1
    return network.eval().requires_grad_(False)


class ThreeLayers(OodNetwork):
    """Convolution, batch norm, PReLU, convolution: quick to export and to compile."""

    stride = 2
    align_corners = False
    num_classes = 5

    def __init__(self) -> None:
        super().__init__()
        conv = nn.Conv2d(3, 8, kernel_size=3, stride=2, padding=1, bias=False)
        self.layers = nn.Sequential(conv, nn.BatchNorm2d(8), nn.PReLU(8), nn.Conv2d(8, 5, 1))

    def forward(self, x):
        return self.layers(x)


@pytest.fixture(scope='session')
def small_network() -> OodNetwork:
    """Return a network of three layers in eval mode with lively statistics and slopes."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = ThreeLayers()
        nn.init.uniform_(network.layers[2].weight, -1.0, 2.0)
        network(torch.rand(4, 3, 16, 16))
    return network.eval().requires_grad_(False)


@pytest.fixture(scope='session')
def tiny_image() -> torch.Tensor:
    """Return a smooth normalised image (1, 3, 48, 64)."""
    rows, columns = torch.meshgrid(
        torch.linspace(-2, 2, 48), torch.linspace(-2, 2, 64), indexing='ij'
    )
    return torch.stack([rows, columns, torch.sin(3 * rows * columns)])[None]


@pytest.fixture(scope='session')
def onnx_file(small_network) -> bytes:
    """Return the network of three layers as an ONNX file for images of 48 x 64."""
    pytest.importorskip('onnxruntime')
    return to_onnx(small_network, (1, 3, 48, 64))
