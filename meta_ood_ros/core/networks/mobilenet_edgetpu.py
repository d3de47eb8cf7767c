"""MobileNet-EdgeTPU as a dense backbone: Xiong et al., MobileDets, CVPR 2021, and its release."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from meta_ood_ros.core.networks.same_conv import SameConv
from torch import nn, Tensor


@dataclass(frozen=True)
class Row:
    """Equal blocks one after the other: channels inside and after them, repeats, and the rest."""

    wide: int
    outputs: int
    repeats: int = 1
    kernel: int = 3
    stride: int = 1
    dilation: int = 1
    is_fused: bool = False
    is_residual: bool = False


# The published network of depth multiplier 0.75 at output stride 16: what was the last strided
# block has stride 1, and the blocks after it are dilated.
STEM_CHANNELS = 24
FIRST_CHANNELS = 16
FINE_ROWS = (
    Row(128, 24, stride=2, is_fused=True),
    Row(96, 24, 3, is_fused=True, is_residual=True),
)
COARSE_ROWS = (
    Row(192, 40, stride=2, is_fused=True),
    Row(160, 40, 3, is_fused=True, is_residual=True),
    Row(320, 72, stride=2),
    Row(288, 72, 3, is_residual=True),
    Row(576, 72),
    Row(288, 72, 3, is_residual=True),
    Row(576, 120, kernel=5),
    Row(480, 120, 3, kernel=5, dilation=2, is_residual=True),
    Row(960, 144, dilation=2),
)
LAST_CHANNELS = 1280
_MIDDLE_ROWS = 2
"""Of the coarse rows: after them the map has an eighth of the resolution, later a sixteenth."""


class MobileNetEdgeTpu(nn.Module):
    """
    Backbone with output stride 16: (N, 3, h0, w0) -> maps at strides 2, 4, 8 and 16.

    Early blocks use one full convolution in place of expansion and depthwise convolution, which
    suits accelerators. The published weights have batch norm folded: here is none, and every
    convolution has a bias.

    Parameters
    ----------
    is_centred : bool
        Whether a cell of the coarse map looks at the middle of its 16 pixels, at 16 i + 7 of 0 to
        15. By TensorFlow's padding it does at 16 i where the sides are 16 k + 1, but at 16 i + 15
        where they are multiples of 16. The weights fit both.

    """

    fine_channels = FINE_ROWS[-1].outputs
    coarse_channels = LAST_CHANNELS
    channels: ClassVar[dict[int, int]] = {
        2: FIRST_CHANNELS,
        4: fine_channels,
        8: COARSE_ROWS[_MIDDLE_ROWS - 1].outputs,
        16: LAST_CHANNELS,
    }
    """Stride -> channels of its map."""

    def __init__(self, *, is_centred: bool = False) -> None:
        super().__init__()
        # Shifts of the four strided convolutions: 1 + 2 + 4 + 0 = 7 pixels.
        early, late = (0, 1) if is_centred else (None, None)
        stem = SameConv(3, STEM_CHANNELS, 3, stride=2, before=early)
        self.stem = nn.Sequential(stem, nn.ReLU())
        self.first = SameConv(STEM_CHANNELS, FIRST_CHANNELS, 1, is_linear=True)
        self.fine = nn.Sequential(*_blocks(FIRST_CHANNELS, FINE_ROWS, before=early))
        middle = _blocks(FINE_ROWS[-1].outputs, COARSE_ROWS[:_MIDDLE_ROWS], before=early)
        coarse = _blocks(self.channels[8], COARSE_ROWS[_MIDDLE_ROWS:], before=late)
        self.coarse = _Coarse(middle, coarse)
        self.last = nn.Sequential(SameConv(COARSE_ROWS[-1].outputs, LAST_CHANNELS, 1), nn.ReLU())

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        """
        Return the maps by stride.

        Parameters
        ----------
        x : Tensor of shape (N, 3, h0, w0), float
            RGB in [-1, 1).

        Returns
        -------
        dict of int to Tensor
            (N, 16, h0 / 2, w0 / 2), (N, 24, h0 / 4, w0 / 4), (N, 40, h0 / 8, w0 / 8) and
            (N, 1280, h0 / 16, w0 / 16); sides are rounded up.

        """
        first = self.first(self.stem(x))
        fine = self.fine(first)
        middle, coarse = self.coarse(fine)
        return {2: first, 4: fine, 8: middle, 16: self.last(coarse)}


class _Coarse(nn.Sequential):
    """All blocks after the fine map, in one sequence; the map in their middle is given, too."""

    def __init__(self, middle: Sequence[nn.Module], coarse: Sequence[nn.Module]) -> None:
        super().__init__(*middle, *coarse)
        self.middle_blocks = len(middle)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maps at strides 8 and 16."""
        middle = x
        for place, block in enumerate(self, 1):
            x = block(x)
            if place == self.middle_blocks:
                middle = x
        return middle, x


class EdgeTpuBlock(nn.Module):
    """
    Inverted residual: 1x1 expansion and depthwise convolution, or both fused, then a linear 1x1.

    Parameters
    ----------
    inputs : int
        Channels.
    row : Row
        The rest.
    before : int or None
        Padding of a strided convolution, see SameConv.

    """

    def __init__(self, inputs: int, row: Row, *, before: int | None) -> None:
        super().__init__()
        wide = row.wide
        spatial = SameConv(
            inputs if row.is_fused else wide,
            wide,
            row.kernel,
            stride=row.stride,
            dilation=row.dilation,
            groups=1 if row.is_fused else wide,
            before=before,
        )
        convs = [spatial] if row.is_fused else [SameConv(inputs, wide, 1), spatial]
        layers: list[nn.Module] = []
        for conv in convs:
            layers += [conv, nn.ReLU()]
        project = SameConv(wide, row.outputs, 1, is_linear=True)
        self.layers = nn.Sequential(*layers, project)
        self.is_residual = row.is_residual

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, h / stride, w / stride) from (N, inputs, h, w)."""
        return x + self.layers(x) if self.is_residual else self.layers(x)


def _blocks(channels: int, rows: tuple[Row, ...], *, before: int | None) -> list[nn.Module]:
    blocks: list[nn.Module] = []
    for row in rows:
        for _ in range(row.repeats):
            blocks.append(EdgeTpuBlock(channels, row, before=before))
            channels = row.outputs
    return blocks
