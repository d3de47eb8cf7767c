"""
Real NVP: a bijection from embeddings to a standard normal variable, hence their density.

Dinh, Sohl-Dickstein, Bengio, ICLR 2017, as Blum et al. 2021 use it (B.6): steps of affine
coupling, batch normalisation and a fixed random permutation; but for the last they start as the
identity.
log p(z) = log N(g(z); 0, I) + log |det dg/dz| (equation 7).
"""

from collections.abc import Sequence
import math

import torch
from torch import nn, Tensor

STEPS = 32
_LARGEST_LOG_SCALE = 2.0
_BATCH_SHARE, _SMALLEST_VARIANCE = 0.05, 1e-5


class AffineCoupling(nn.Module):
    """The second half is scaled and shifted by what a small network makes of the first."""

    def __init__(self, dimensions: int, hidden: int) -> None:
        super().__init__()
        self.split = dimensions // 2
        moved = dimensions - self.split
        self.net = nn.Sequential(
            nn.Linear(self.split, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 2 * moved),
        )
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = z[:, : self.split], z[:, self.split :]
        log_scale, shift = self._affine(kept)
        return torch.cat([kept, moved * log_scale.exp() + shift], dim=1), log_scale.sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return what was given to `forward`."""
        kept, moved = y[:, : self.split], y[:, self.split :]
        log_scale, shift = self._affine(kept)
        return torch.cat([kept, (moved - shift) * (-log_scale).exp()], dim=1)

    def _affine(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = self.net(kept).chunk(2, dim=1)
        return _LARGEST_LOG_SCALE * torch.tanh(log_scale / _LARGEST_LOG_SCALE), shift


class BatchNormStep(nn.Module):
    """Batch normalisation as a bijection; evaluation takes the running moments."""

    mean: Tensor
    variance: Tensor

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.log_gamma = nn.Parameter(torch.zeros(dimensions))
        self.beta = nn.Parameter(torch.zeros(dimensions))
        self.register_buffer('mean', torch.zeros(dimensions))
        self.register_buffer('variance', torch.ones(dimensions))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = self.mean, self.variance
        if self.training:
            variance, mean = torch.var_mean(z, dim=0, correction=0)
            with torch.no_grad():
                self.mean.lerp_(mean, _BATCH_SHARE)
                self.variance.lerp_(variance, _BATCH_SHARE)
        log_scale = self.log_gamma - 0.5 * torch.log(variance + _SMALLEST_VARIANCE)
        return (z - mean) * log_scale.exp() + self.beta, log_scale.sum().expand(len(z))

    def inverse(self, y: Tensor) -> Tensor:
        """Return what was given to `forward` in evaluation."""
        log_scale = self.log_gamma - 0.5 * torch.log(self.variance + _SMALLEST_VARIANCE)
        return (y - self.beta) * (-log_scale).exp() + self.mean


class Permutation(nn.Module):
    """A fixed order of the dimensions."""

    order: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer('order', order)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z[:, self.order], z.new_zeros(len(z))

    def inverse(self, y: Tensor) -> Tensor:
        """Return what was given to `forward`."""
        return y[:, self.order.argsort()]


class RealNvp(nn.Module):
    """
    Density of embeddings, after each dimension was standardised.

    Attributes
    ----------
    centre, spread : Tensor of shape (D,)
        Mean and standard deviation of the training embeddings, part of the bijection: densities
        are those of the embeddings themselves.
    training_nll : Tensor, scalar
        Mean NLL of the training embeddings, L(Z) of equation 6; set by the fit.

    """

    centre: Tensor
    spread: Tensor
    training_nll: Tensor

    def __init__(
        self, dimensions: int, *, hidden: int = 64, steps: int = STEPS, seed: int = 0
    ) -> None:
        if dimensions < 2:
            raise ValueError(
                f'a coupling needs at least 2 dimensions, got {dimensions}. Choose another layer.'
            )
        super().__init__()
        self.hidden, self.dimensions = hidden, dimensions
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            parts: list[nn.Module] = []
            for _ in range(steps):
                parts += [
                    AffineCoupling(dimensions, hidden),
                    BatchNormStep(dimensions),
                    Permutation(torch.randperm(dimensions)),
                ]
        self.parts = nn.ModuleList(parts)
        self.register_buffer('centre', torch.zeros(dimensions))
        self.register_buffer('spread', torch.ones(dimensions))
        self.register_buffer('training_nll', torch.zeros(()))

    @property
    def steps(self) -> int:
        return len(self.parts) // 3

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return latent vectors (N, D) of embeddings (N, D), and log |det| (N,)."""
        log_det = -self.spread.log().sum().expand(len(z))
        z = (z - self.centre) / self.spread
        for part in self.parts:
            z, more = part(z)
            log_det = log_det + more
        return z, log_det

    def inverse(self, latent: Tensor) -> Tensor:
        """Return the embeddings of latent vectors, in evaluation."""
        for part in reversed(self.parts):
            latent = part.inverse(latent)  # type: ignore[operator]
        return latent * self.spread + self.centre

    def nll(self, z: Tensor) -> Tensor:
        """Return -log p (N,) of embeddings (N, D), in nats."""
        latent, log_det = self(z)
        normal = 0.5 * latent.square().sum(1) + 0.5 * self.dimensions * math.log(2 * math.pi)
        return normal - log_det

    def standardise(self, moments: Sequence[Tensor]) -> None:
        """Take mean and standard deviation (D,) of the training embeddings into the bijection."""
        mean, spread = moments
        self.centre.copy_(mean)
        # a dimension that never varies must not divide by 0; its own density stays finite
        self.spread.copy_(spread.clamp(min=max(1e-3 * float(spread.max()), 1e-12)))
