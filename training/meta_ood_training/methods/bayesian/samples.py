"""
Several softmax of one image -> predictive entropy and mutual information, pixel by pixel.

Blum et al. 2021, equations 1 and 2 (Kendall and Gal, NeurIPS 2017): the entropy of the mean of
the answers, and what of it is not the mean of their entropies; both over log C.
"""

from collections.abc import Sequence
from dataclasses import dataclass
import math

from meta_ood_ros.core.kernels.host_copy import to_host
from meta_ood_ros.core.kernels.strips import upsampled_strips
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

ENTROPY, MUTUAL_INFORMATION = 'entropy', 'mutual_information'


@dataclass(frozen=True, eq=False)
class Answer:
    """Logits (C, h, w) of one sample, and how they are upsampled."""

    logits: Tensor
    align_corners: bool


def measure_answers(
    answers: Sequence[Answer], size: tuple[int, int]
) -> dict[str, NDArray[np.float32]]:
    """Return both maps (H, W): `entropy` in [0, 1], `mutual_information` in [0, entropy]."""
    if len(answers) < 2:
        raise ValueError(f'mutual information needs at least 2 answers, got {len(answers)}.')
    counts = {one.logits.shape[0] for one in answers}
    if len(counts) > 1:
        raise ValueError(f'answers must be of the same classes, got {sorted(counts)} of them.')
    device = answers[0].logits.device
    maps = [torch.empty(size, dtype=torch.float32, device=device) for _ in range(2)]
    with torch.inference_mode():
        strips = [
            upsampled_strips(one.logits.float(), size, align_corners=one.align_corners)
            for one in answers
        ]
        scale = 1.0 / math.log(counts.pop())
        for parts in zip(*strips, strict=True):
            rows = parts[0][0]
            mean, own = torch.zeros_like(parts[0][1]), torch.zeros_like(parts[0][1][0])
            for _, logits in parts:
                log_p = torch.log_softmax(logits, 0)
                p = log_p.exp()
                mean += p / len(parts)
                own -= (p * log_p).sum(0) / len(parts)
            total = torch.special.entr(mean).sum(0)  # 0 at p = 0
            maps[0][rows] = (total * scale).clamp(0.0, 1.0)
            maps[1][rows] = ((total - own) * scale).clamp(min=0.0)
    both = to_host(maps)
    return {
        name: np.asarray(one.numpy())
        for name, one in zip((ENTROPY, MUTUAL_INFORMATION), both, strict=True)
    }
