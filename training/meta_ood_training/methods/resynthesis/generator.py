"""Class map -> street image: layers modulated by the map (SPADE, Park et al. CVPR 2019)."""

import torch
from torch import nn, Tensor
from torch.nn.functional import adaptive_avg_pool2d, instance_norm, interpolate, leaky_relu

#: Channels on the grids of strides 16, 8, 4, 2 and 1, by those of the last.
_WIDTHS = (8, 8, 4, 2, 1)
_COARSEST = 2 ** (len(_WIDTHS) - 1)


class SpadeGenerator(nn.Module):
    """
    Small generator of the images that a class map could stand for.

    Parameters
    ----------
    num_classes : int
        C.
    width : int
        Channels on the finest grid; eight times as many on the coarsest.

    Notes
    -----
    Every grid sees the map: normalised activations are scaled and shifted by what a convolution
    makes of it. It has no noise and no discriminator: of the images that a map could stand for it
    gives their middle, blurred where they differ.

    """

    def __init__(self, num_classes: int, *, width: int = 16) -> None:
        super().__init__()
        channels = [width * factor for factor in _WIDTHS]
        self.num_classes = num_classes
        self.first = nn.Conv2d(num_classes + 2, channels[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            _Modulated(before, after, num_classes)
            for before, after in zip([channels[0], *channels], channels, strict=False)
        )
        self.last = nn.Conv2d(channels[-1], 3, 3, padding=1)

    def forward(self, semantics: Tensor) -> Tensor:
        """
        Return the images of class maps.

        Parameters
        ----------
        semantics : Tensor of shape (N, C, h, w), float32
            Share of each class in a pixel: 0 or 1 where the map is hard.

        Returns
        -------
        Tensor of shape (N, 3, h, w), float32
            RGB in (0, 1).

        """
        height, width = semantics.shape[-2:]
        sizes = [
            (-(-height // stride), -(-width // stride))
            for stride in (_COARSEST // 2**level for level in range(len(_WIDTHS)))
        ]
        maps = [adaptive_avg_pool2d(semantics, size) for size in sizes[:-1]] + [semantics]
        x = self.first(torch.cat([maps[0], _places(maps[0])], dim=1))
        for size, shares, block in zip(sizes, maps, self.blocks, strict=True):
            if x.shape[-2:] != size:
                x = interpolate(x, size, mode='nearest')
            x = block(x, shares)
        return torch.sigmoid(self.last(leaky_relu(x, 0.2)))


class _Modulated(nn.Module):
    """(N, inputs, h, w) and class shares (N, C, h, w) -> (N, outputs, h, w), with a shortcut."""

    def __init__(self, inputs: int, outputs: int, num_classes: int) -> None:
        super().__init__()
        hidden = max(outputs, 16)
        self.embed = nn.Conv2d(num_classes, hidden, 3, padding=1)
        self.modulation = nn.Conv2d(hidden, 2 * inputs, 3, padding=1)
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor, shares: Tensor) -> Tensor:
        scale, shift = self.modulation(torch.relu(self.embed(shares))).chunk(2, dim=1)
        # A grid of one pixel has no spread to divide by.
        normed = instance_norm(x) if x.shape[-2] * x.shape[-1] > 1 else x
        return self.shortcut(x) + self.conv(leaky_relu(normed * (1 + scale) + shift, 0.2))


def _places(x: Tensor) -> Tensor:
    """Return row and column of each pixel in [-1, 1], (N, 2, h, w): streets have an above."""
    count, _, height, width = x.shape
    rows = torch.linspace(-1, 1, height, device=x.device).view(1, 1, height, 1)
    columns = torch.linspace(-1, 1, width, device=x.device).view(1, 1, 1, width)
    return torch.cat(
        [one.expand(count, 1, height, width) for one in (rows, columns)],
        dim=1,
    )
