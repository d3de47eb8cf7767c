"""A tiny network and image for the tests of the backends."""

from meta_ood_ros.core.networks import build_network, OodNetwork
import pytest
import torch


@pytest.fixture(scope='session')
def tiny_network() -> OodNetwork:
    """Return an ESPNetv2 of the smallest width with lively batch-norm statistics, eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network('espnet_v2', num_classes=5, scale=0.5)
        network(torch.rand(4, 3, 64, 64))  # train mode: running statistics leave 0 and 1
    return network.eval().requires_grad_(False)


@pytest.fixture(scope='session')
def tiny_image() -> torch.Tensor:
    """Return a smooth normalised image (1, 3, 48, 64)."""
    rows, columns = torch.meshgrid(
        torch.linspace(-2, 2, 48), torch.linspace(-2, 2, 64), indexing='ij'
    )
    return torch.stack([rows, columns, torch.sin(3 * rows * columns)])[None]
