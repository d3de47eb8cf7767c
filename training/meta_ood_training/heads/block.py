"""Maps of several resolutions -> a few output planes, at the resolution of the last map."""

from collections.abc import Sequence

import torch
from torch import nn, Tensor
from torch.nn.functional import interpolate


class HeadBlock(nn.Module):
    """
    1x1 from each map to common channels, summed, ReLU, 3x3, ReLU, 1x1 to the planes.

    Without hidden channels, the one 1x1 convolution that a further class would have in the last
    layer. It begins at 0: the planes of an untrained head say nothing.
    """

    def __init__(self, channels: Sequence[int], planes: int, *, hidden: int) -> None:
        super().__init__()
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
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

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
