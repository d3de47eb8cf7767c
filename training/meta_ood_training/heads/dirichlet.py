"""
Prior networks: concentrations alpha = e^z of a Dirichlet distribution over the softmax.

Malinin & Gales, NeurIPS 2018; Blum et al., equation 3. Everywhere the class dimension is the
second, and C its size.
"""

import math
from typing import Literal

import torch
from torch import Tensor

Measure = Literal['differential_entropy', 'mutual_information', 'precision']


def divergence(target: Tensor, logits: Tensor) -> Tensor:
    """
    Return KL[Dir(target) || Dir(e^logits)] of each pixel.

    Parameters
    ----------
    target : Tensor of shape (P, C) or (N, C, H, W), float
        Concentrations above 0.
    logits : Tensor of the same shape, float

    Returns
    -------
    Tensor without the class dimension
        At least 0 [nat], and 0 at target = e^logits alone.

    """
    alpha = logits.exp()
    total = target.sum(1, keepdim=True)
    expected = torch.digamma(target) - torch.digamma(total)
    return (
        torch.lgamma(total).squeeze(1)
        - torch.lgamma(target).sum(1)
        - torch.lgamma(alpha.sum(1))
        + torch.lgamma(alpha).sum(1)
        + ((target - alpha) * expected).sum(1)
    )


def differential_entropy(logits: Tensor) -> Tensor:
    """Return the entropy of the Dirichlet density [nat], at most -log (C - 1)!: the flat one."""
    alpha = logits.double().exp()
    total = alpha.sum(1)
    normalizer = torch.lgamma(alpha).sum(1) - torch.lgamma(total)
    classes = logits.shape[1]
    weighted = ((alpha - 1) * torch.digamma(alpha)).sum(1)
    return normalizer + (total - classes) * torch.digamma(total) - weighted


def mutual_information(logits: Tensor) -> Tensor:
    """Return that between the class and the softmax [nat]: expected entropy below the total's."""
    alpha = logits.double().exp()
    total = alpha.sum(1, keepdim=True)
    p = alpha / total
    inner = p.log() - torch.digamma(alpha + 1) + torch.digamma(total + 1)
    return -(p * inner).sum(1)


def lack_of_precision(logits: Tensor) -> Tensor:
    """Return -log of the sum of concentrations: the higher, the less evidence for any class."""
    return -logits.double().logsumexp(1)


MEASURES = {
    'differential_entropy': differential_entropy,
    'mutual_information': mutual_information,
    'precision': lack_of_precision,
}


def smoothed_concentrations(probabilities: Tensor, *, total: float, smoothing: float) -> Tensor:
    """
    Return alpha_in: smoothed labels times their sum (Blum et al., appendix B.4).

    Parameters
    ----------
    probabilities : Tensor of shape (P, C), float
        One-hot, or a teacher's.

    """
    classes = probabilities.shape[1]
    return total * ((1 - smoothing) * probabilities + smoothing / classes)


def largest_differential_entropy(classes: int) -> float:
    """Return the entropy of the flat density, alpha = 1: -log (C - 1)!."""
    return -math.lgamma(classes)
