"""What the tests of all networks share: the published weight rule and the check of the names."""

from collections.abc import Callable
import hashlib
import zlib

import numpy as np
import pytest
import torch
from torch import nn, Tensor


def _value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the weight that the parity files' rule (PROTOCOLS) gives to a state-dict entry."""
    z = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    z = z.astype(np.float32)
    kind = name.rsplit('.', 1)[-1]
    if kind == 'running_mean' or kind == 'bias':
        return np.float32(0.1) * z
    if kind == 'running_var':
        return 1 + np.float32(0.1) * np.abs(z)
    if z.ndim > 1:
        return z * np.float32(np.sqrt(1 / np.prod(shape[1:])))
    return np.float32(0.5) + np.float32(0.05) * z


@pytest.fixture(scope='session')
def fill_by_rule() -> Callable[[nn.Module], None]:
    """Return a function that gives every entry of a network its value by the published rule."""

    def fill(network: nn.Module) -> None:
        for name, entry in network.state_dict().items():
            if name.endswith('num_batches_tracked'):
                entry.zero_()
            else:
                entry.copy_(torch.from_numpy(np.asarray(_value(name, tuple(entry.shape)))))

    return fill


@pytest.fixture(scope='session')
def key_lines() -> Callable[[nn.Module], list[str]]:
    """Return a function: network -> sorted lines 'key<tab>shape' as in the reference lists."""

    def lines(network: nn.Module) -> list[str]:
        return sorted(f'{k}\t{tuple(v.shape)}' for k, v in network.state_dict().items())

    return lines


@pytest.fixture(scope='session')
def digest() -> Callable[[list[str]], str]:
    """Return a function: lines -> SHA-256, so that names are checked without the lists too."""
    return lambda lines: hashlib.sha256('\n'.join(lines).encode()).hexdigest()


@pytest.fixture(scope='session')
def noise() -> Callable[..., Tensor]:
    """Return a function: shape -> standard normal tensor of that shape, always the same."""

    def draw(*shape: int) -> Tensor:
        return torch.from_numpy(np.random.default_rng(7).standard_normal(shape, dtype=np.float32))

    return draw
