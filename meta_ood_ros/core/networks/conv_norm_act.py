"""Convolution blocks of EfficientViT, with the layer names of its published weights."""

from collections import OrderedDict

from torch import nn, Tensor

EXPANSION = 4


class ConvNormAct(nn.Sequential):
    """
    Convolution, batch norm, hard swish; the last two optional.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    kernel, stride, groups : int
        As of Conv2d, padded symmetrically.
    has_norm : bool
        Whether a batch norm follows.
    has_act : bool
        Whether a hard swish follows.
    has_bias : bool
        Of the convolution.

    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        has_norm: bool = True,
        has_act: bool = True,
        has_bias: bool = False,
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers['conv'] = nn.Conv2d(
            inputs,
            outputs,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=groups,
            bias=has_bias,
        )
        if has_norm:
            layers['norm'] = nn.BatchNorm2d(outputs)
        if has_act:
            layers['act'] = nn.Hardswish()
        super().__init__(layers)


class DepthwiseSeparable(nn.Sequential):
    """3x3 depthwise convolution, then a linear 1x1 convolution; (N, c, h, w) keeps its shape."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            OrderedDict(
                depth_conv=ConvNormAct(channels, channels, 3, groups=channels),
                point_conv=ConvNormAct(channels, channels, has_act=False),
            )
        )


class InvertedBottleneck(nn.Sequential):
    """
    1x1 expansion, 3x3 depthwise convolution, linear 1x1 projection.

    Parameters
    ----------
    inputs, outputs : int
        Channels; inside there are four times the inputs.
    stride : int
        Of the depthwise convolution.
    has_few_norms : bool
        Batch norm after the projection only, biases before; so in the later stages.

    """

    def __init__(
        self, inputs: int, outputs: int, *, stride: int = 1, has_few_norms: bool = False
    ) -> None:
        wide = EXPANSION * inputs
        kind = {'has_norm': not has_few_norms, 'has_bias': has_few_norms}
        super().__init__(
            OrderedDict(
                inverted_conv=ConvNormAct(inputs, wide, **kind),
                depth_conv=ConvNormAct(wide, wide, 3, stride=stride, groups=wide, **kind),
                point_conv=ConvNormAct(wide, outputs, has_act=False),
            )
        )


class Branch(nn.Module):
    """A block under the name `main`, with its input added where `is_residual`."""

    def __init__(self, main: nn.Module, *, is_residual: bool = True) -> None:
        super().__init__()
        self.main = main
        self.is_residual = is_residual

    def forward(self, x: Tensor) -> Tensor:
        """Return main(x), plus x."""
        return x + self.main(x) if self.is_residual else self.main(x)
