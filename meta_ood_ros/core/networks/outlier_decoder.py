"""
A decoder beside that of the classes that tells OoD from the rest, and both as logits of C classes.

Bevandic et al. (GCPR 2019) train the second decoder. The logits are those of the mixture
(1 - p) softmax(k z) + p / C: a pixel is of its classes, or with probability p of something whose
class nothing is known about. Their softmax entropy tells OoD as p does, their largest class is
that of z, and whatever takes logits takes these.
"""

from collections.abc import Sequence

import torch
from torch import nn, Tensor
from torch.nn.functional import interpolate

CLASS_SHARPNESS = 4.0
"""k: how much of the entropy between two known classes is left beside that of the unknown."""
MAX_CHANNELS = 4096
"""Within a decoder: far more than any has, and few enough to be built."""
_LEAST_PROBABILITY = 1e-6
"""Of a class, where float16 would take its logarithm of 0."""


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
                f'the channels within a head must be from 0 to {MAX_CHANNELS}, got {hidden}. Give, '
                'say, 64.'
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
        summed = torch.stack(reduced).mean(0)
        return self.out(self.mix(summed.relu()).relu())


def _clear_bias(layer: nn.Conv2d) -> None:
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


def mix_outliers(logits: Tensor, outlier_logit: Tensor, *, align_corners: bool) -> Tensor:
    """
    Return the logits of the mixture, on the grid of the outlier logits.

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
        log((1 - p) softmax(k z) + p / C) + log sum exp(k z), so that the size of the logits, which
        `energy` and `max_logit` look at, is that of k z where p is 0.

    """
    size = outlier_logit.shape[-2:]
    if logits.shape[-2:] != size:
        logits = interpolate(logits, size, mode='bilinear', align_corners=align_corners)
    logits, p = logits * CLASS_SHARPNESS, outlier_logit.sigmoid()
    # In single steps: OpenVINO 2026.4 reads ReduceLogSumExp of an ONNX graph as something else.
    largest = logits.amax(1, keepdim=True)
    exponentials = (logits - largest).exp()
    total = exponentials.sum(1, keepdim=True)
    mixture = (1 - p) * exponentials / total + p / logits.shape[1]
    return mixture.clamp_min(_LEAST_PROBABILITY).log() + total.log() + largest
