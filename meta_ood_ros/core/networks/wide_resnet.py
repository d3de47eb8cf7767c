"""
WideResNet38, the backbone of the paper's DeepLabv3+: Wu, Shen, van den Hengel 2016, model A2.

Pre-activation residual blocks. The names of the layers are those of NVIDIA's checkpoint.
"""

from collections import OrderedDict

from torch import nn, Tensor


class WideResNet38(nn.Module):
    """
    Backbone with output stride 8: (N, 3, h0, w0) -> maps at stride 2 and at stride 8.

    Published as seven levels `mod1` to `mod7` at the top of the state dict; therefore the network
    around it inherits from this class rather than holding it.
    """

    fine_channels = 128
    coarse_channels = 4096

    def __init__(self) -> None:
        super().__init__()
        conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
        self.mod1 = nn.Sequential(OrderedDict(conv1=conv1))
        self.mod2 = _level(3, 64, (128, 128))
        self.mod3 = _level(3, 128, (256, 256))
        self.mod4 = _level(6, 256, (512, 512), stride=2)
        self.mod5 = _level(3, 512, (512, 1024), dilation=2)
        self.mod6 = _level(1, 1024, (512, 1024, 2048), dilation=4, dropout=0.3)
        self.mod7 = _level(1, 2048, (1024, 2048, 4096), dilation=4, dropout=0.5)
        self.pool2 = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.pool3 = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """
        Return the maps that DeepLabv3+ needs.

        Parameters
        ----------
        x : Tensor of shape (N, 3, h0, w0), float
            Normalised RGB.

        Returns
        -------
        (Tensor, Tensor)
            (N, 128, h0 / 2, w0 / 2) of mod2 and (N, 4096, h0 / 8, w0 / 8) of mod7, before any
            last activation; sides are rounded up.

        """
        fine = self.mod2(self.pool2(self.mod1(x)))
        x = self.mod4(self.mod3(self.pool3(fine)))
        return fine, self.mod7(self.mod6(self.mod5(x)))


class _PreActivationBlock(nn.Module):
    """
    y = convs(a) + shortcut, a = ReLU(BN(x)): two 3x3 convolutions, or 1x1, 3x3, 1x1.

    The shortcut is x, or a projection of a where the shape changes.
    """

    def __init__(
        self,
        inputs: int,
        channels: tuple[int, ...],
        *,
        stride: int,
        dilation: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.bn1 = _bn_relu(inputs)
        kernels = (3, 3) if len(channels) == 2 else (1, 3, 1)
        strided = kernels.index(3)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        before = inputs
        for i, (width, kernel) in enumerate(zip(channels, kernels, strict=True)):
            if i > 0:
                layers[f'bn{i + 1}'] = _bn_relu(before)
            if i == 2 and dropout > 0:
                layers['dropout'] = nn.Dropout2d(dropout)
            layers[f'conv{i + 1}'] = nn.Conv2d(
                before,
                width,
                kernel,
                stride=stride if i == strided else 1,
                padding=dilation * (kernel // 2),
                dilation=dilation if kernel > 1 else 1,
                bias=False,
            )
            before = width
        self.convs = nn.Sequential(layers)
        self.proj_conv: nn.Module | None = None
        if stride > 1 or inputs != before:
            self.proj_conv = nn.Conv2d(inputs, before, kernel_size=1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated = self.bn1(x)
        shortcut = x if self.proj_conv is None else self.proj_conv(activated)
        return self.convs(activated) + shortcut


def _level(
    blocks: int,
    inputs: int,
    channels: tuple[int, ...],
    *,
    stride: int = 1,
    dilation: int = 1,
    dropout: float = 0.0,
) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            (
                f'block{i + 1}',
                _PreActivationBlock(
                    inputs if i == 0 else channels[-1],
                    channels,
                    stride=stride if i == 0 else 1,
                    dilation=dilation,
                    dropout=dropout,
                ),
            )
            for i in range(blocks)
        )
    )


def _bn_relu(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
