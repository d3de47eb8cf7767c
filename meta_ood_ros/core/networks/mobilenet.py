"""MobileNetV2 as a dense backbone: Sandler, Howard, Zhu, Zhmoginov, Chen, CVPR 2018, table 2."""

from torch import nn, Tensor

# Rows of table 2: expansion t, channels c, repeats n, stride s. The last row, 1280 channels for
# classification, is left out as in DeepLabv3+.
ROWS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM_CHANNELS = 32
FINE_STRIDE = 4
OUTPUT_STRIDES = (8, 16)


class MobileNetV2(nn.Module):
    """
    Backbone with output stride 8 or 16: (N, 3, h0, w0) -> maps at stride 4 and at that stride.

    Strides beyond the output stride are replaced by dilation (atrous convolution), so the weights
    fit both.
    """

    def __init__(self, *, width: float = 1.0, output_stride: int = 16) -> None:
        super().__init__()
        if output_stride not in OUTPUT_STRIDES:
            raise ValueError(
                f'output_stride must be 8 or 16, got {output_stride}. 16 is the faster one.'
            )
        if not 0.1 <= width <= 4.0:
            raise ValueError(f'width must lie in [0.1, 4], got {width}. 1.0 is the published one.')
        channels = to_channels(STEM_CHANNELS, width)
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, kernel_size=3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU6(),
        )
        fine: list[nn.Module] = []
        coarse: list[nn.Module] = []
        stride, dilation = 2, 1
        self.fine_channels = channels
        for expansion, base, repeats, step in ROWS:
            for i in range(repeats):
                wanted = step if i == 0 else 1
                taken = wanted if stride * wanted <= output_stride else 1
                outputs = to_channels(base, width)
                block = InvertedResidual(
                    channels, outputs, expansion=expansion, stride=taken, dilation=dilation
                )
                # The layer that would have been strided still sees the grid before it.
                dilation *= wanted // taken
                stride *= taken
                channels = outputs
                (fine if stride <= FINE_STRIDE else coarse).append(block)
            if stride <= FINE_STRIDE:
                self.fine_channels = channels
        self.fine = nn.Sequential(*fine)
        self.coarse = nn.Sequential(*coarse)
        self.coarse_channels = channels

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """
        Return the maps that DeepLabv3+ needs.

        Parameters
        ----------
        x : Tensor of shape (N, 3, h0, w0), float
            Normalised RGB.

        Returns
        -------
        (Tensor, Tensor)
            (N, fine_channels, h0 / 4, w0 / 4) and (N, coarse_channels, h0 / s, w0 / s) with the
            output stride s; sides are rounded up.

        """
        fine = self.fine(self.stem(x))
        return fine, self.coarse(fine)


class InvertedResidual(nn.Module):
    """
    1x1 expansion, 3x3 depthwise, linear 1x1 projection; the input is added where shapes agree.

    Parameters
    ----------
    expansion : int
        t: the depthwise convolution has t x inputs channels; no expansion layer for t = 1.

    """

    def __init__(
        self, inputs: int, outputs: int, *, expansion: int, stride: int, dilation: int
    ) -> None:
        super().__init__()
        wide = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [
                nn.Conv2d(inputs, wide, kernel_size=1, bias=False),
                nn.BatchNorm2d(wide),
                nn.ReLU6(),
            ]
        layers += [
            nn.Conv2d(
                wide,
                wide,
                kernel_size=3,
                stride=stride,
                padding=dilation,
                dilation=dilation,
                groups=wide,
                bias=False,
            ),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, outputs, kernel_size=1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.layers = nn.Sequential(*layers)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, h / stride, w / stride) from (N, inputs, h, w)."""
        return x + self.layers(x) if self.is_residual else self.layers(x)


def to_channels(base: int, width: float) -> int:
    """Return the multiple of 8 next to base x width, at least 8 and at least 90 % of it."""
    rounded = max(8, int(base * width + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * base * width else rounded + 8
