"""
A decoder beside that of the classes that tells OoD from the rest, and both as logits of C classes.

Bevandic et al. (GCPR 2019) train the second decoder, which gives p, the probability of an outlier.
The logits are those of the classes, made milder pixel by pixel so that their softmax entropy e
becomes 1 - (1 - e) (1 - p): unknown to the classes, or to the decoder. The largest class stays,
and whatever takes logits takes these.
"""

from collections.abc import Sequence
from functools import cache
import math

import numpy as np
import torch
from torch import nn, Tensor
from torch.nn.functional import interpolate

MAX_CHANNELS = 4096
"""Within a decoder: far more than any has, and few enough to be built."""
_LEAST_SHARE = 1e-3
"""Of the logits that is left: less, and float16 could not tell the largest class any more."""
_LONGEST_STEP = 1.0
"""Of Newton's, in the logarithm of the share."""
_LEAST_VARIANCE = 0.01
_LEAST_ENTROPY, _MOST_ENTROPY = 1e-6, 1 - 1e-6
_TABLE_STEPS = 128


class HeadBlock(nn.Module):
    """
    1x1 from each map to common channels, averaged, ReLU, 3x3, ReLU, 1x1 to the planes.

    Without hidden channels, the one 1x1 convolution that a further class would have in the last
    layer. It begins at 0: the planes of an untrained head say nothing.
    """

    def __init__(self, channels: Sequence[int], planes: int, *, hidden: int) -> None:
        super().__init__()
        if not 0 <= hidden <= MAX_CHANNELS:
            raise ValueError(
                f'the channels within a head must be from 0 to {MAX_CHANNELS}, got {hidden}. '
                'Give, say, 64.'
            )
        if not hidden and len(channels) != 1:
            raise ValueError(
                f'a head without hidden channels must have one input, got {len(channels)}. Name '
                'one layer, or set head.hidden.'
            )
        self.reduce = nn.ModuleList(nn.Conv2d(count, hidden, 1) for count in channels if hidden)
        self.mix = nn.Conv2d(hidden, hidden, 3, padding=1) if hidden else nn.Identity()
        self.out = nn.Conv2d(hidden or channels[0], planes, 1)
        for layer in (*self.reduce, self.mix):
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')
                _clear_bias(layer)
        nn.init.zeros_(self.out.weight)
        _clear_bias(self.out)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        if not len(self.reduce):
            return self.out(maps[0])
        size = maps[-1].shape[-2:]
        reduced = [
            interpolate(reduce(one), size, mode='bilinear', align_corners=False)
            if one.shape[-2:] != size
            else reduce(one)
            for reduce, one in zip(self.reduce, maps, strict=True)
        ]
        # a stack, whose mean it is, takes OpenVINO twice the time
        averaged = sum(reduced[1:], reduced[0]) / len(reduced)
        return self.out(self.mix(averaged.relu()).relu())


def _clear_bias(layer: nn.Conv2d) -> None:
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


def mix_outliers(logits: Tensor, outlier_logit: Tensor, *, align_corners: bool) -> Tensor:
    """
    Return the logits of the classes, milder where there is an outlier.

    Parameters
    ----------
    logits : Tensor of shape (N, C, h, w), float
        z, of the classes.
    outlier_logit : Tensor of shape (N, 1, h', w'), float
        Its sigmoid is p.
    align_corners : bool
        How the classes are upsampled where their grid is coarser.

    Returns
    -------
    Tensor of shape (N, C, h', w'), float
        t z with t in (0, 1], whose entropy over log C is 1 - (1 - e) (1 - p), that of z being e:
        to 0.002 for trained networks.

    """
    size = outlier_logit.shape[-2:]
    if logits.shape[-2:] != size:
        logits = interpolate(logits, size, mode='bilinear', align_corners=align_corners)
    below_largest = logits - logits.amax(1, keepdim=True)
    entropy, _ = _entropy(below_largest)
    wanted = entropy + outlier_logit.sigmoid() * (1 - entropy)
    with torch.no_grad():
        before, after = (_lead(one, logits.shape[1]) for one in (entropy, wanted))
        share = (after / before.clamp_min(1e-3)).clamp(_LEAST_SHARE, 1.0)
    # Newton's step from there has the gradient of the exact solution, by the implicit function.
    reached, variance = _entropy(share * below_largest)
    slope = variance.detach().clamp_min(_LEAST_VARIANCE) / math.log(logits.shape[1])
    step = ((reached - wanted) / slope).clamp(-_LONGEST_STEP, _LONGEST_STEP)
    return logits * (share * step.exp()).clamp(_LEAST_SHARE, 1.0)


def _entropy(below_largest: Tensor) -> tuple[Tensor, Tensor]:
    """
    Return the softmax entropy over log C, and the variance of the logits under the softmax.

    In single steps: OpenVINO 2026.4 reads ReduceLogSumExp of an ONNX graph as something else.
    """
    exponentials = below_largest.exp()
    total = exponentials.sum(1, keepdim=True)
    weighted = below_largest * exponentials
    mean = weighted.sum(1, keepdim=True) / total
    variance = (below_largest * weighted).sum(1, keepdim=True) / total - mean * mean
    return (total.log() - mean) / math.log(below_largest.shape[1]), variance


def _lead(entropy: Tensor, num_classes: int) -> Tensor:
    """Return by how much one logit leads all others, alike among themselves, at an entropy."""
    place = _to_place(entropy.clamp(_LEAST_ENTROPY, _MOST_ENTROPY))
    row = place.floor().clamp(0, _TABLE_STEPS - 1)
    table = _lead_table(num_classes, entropy.device, entropy.dtype)
    low, high = table[row.long()], table[row.long() + 1]
    return low + (place - row) * (high - low)


def _to_place(entropy: Tensor) -> Tensor:
    """Return where in the table an entropy stands: there the lead is smooth at both ends."""
    return (-entropy.log()).sqrt() * (_TABLE_STEPS / math.sqrt(-math.log(_LEAST_ENTROPY)))


@cache
def _lead_table(num_classes: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the lead at each place, (_TABLE_STEPS + 1,); a CUDA graph finds it where it is."""
    leads = torch.linspace(0, 40, 40_001, dtype=torch.float64)
    others = (num_classes - 1) * (-leads).exp()
    entropies = ((1 + others).log() + leads * others / (1 + others)) / math.log(num_classes)
    places = _to_place(entropies.clamp(1e-16, 1.0)).numpy()
    table = np.interp(np.arange(_TABLE_STEPS + 1), places, leads.numpy())
    return torch.from_numpy(table).to(device, dtype)
