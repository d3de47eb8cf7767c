"""
DeepLabv3+: Chen, Zhu, Papandreou, Schroff, Adam, ECCV 2018, with two backbones.

WideResNet38 as in Chan et al. 2021, for the published checkpoints; MobileNetV2 for the edge.
"""

from collections.abc import Sequence
import math

from meta_ood_ros.core.networks.mobilenet import MobileNetV2
from meta_ood_ros.core.networks.ood_network import OodNetwork
from meta_ood_ros.core.networks.wide_resnet import WideResNet38
import torch
from torch import nn, Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

# Dilation of the three atrous 3x3 convolutions at output stride 16 (section 4 of the paper).
ATROUS_RATES_AT_16 = (6, 12, 18)
FINE_PROJECTION = 48


class DeepLabV3PlusWideResNet38(WideResNet38, OodNetwork):
    """
    The network of Chan et al. 2021; logits at half the input's resolution.

    137 M parameters at 19 classes. The names of its layers are those of NVIDIA's and the paper
    authors' checkpoints. In train mode a batch needs two images: there is a batch norm after
    global pooling.

    Parameters
    ----------
    num_classes : int
        C.

    """

    stride = 8
    align_corners = True

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        width = 256
        self.aspp = _PublishedAspp(self.coarse_channels, width)
        self.bot_fine = nn.Conv2d(self.fine_channels, FINE_PROJECTION, kernel_size=1, bias=False)
        self.bot_aspp = nn.Conv2d(5 * width, width, kernel_size=1, bias=False)
        self.final = nn.Sequential(
            *conv_bn_relu(FINE_PROJECTION + width, width, kernel=3),
            *conv_bn_relu(width, width, kernel=3),
            nn.Conv2d(width, num_classes, kernel_size=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """
        Return the logits at half the input's resolution.

        Parameters
        ----------
        x : Tensor of shape (N, 3, h0, w0), float
            RGB, normalised with the ImageNet mean and standard deviation.

        Returns
        -------
        Tensor of shape (N, C, ceil(h0 / 2), ceil(w0 / 2)), float
            To be upsampled with align_corners=True.

        """
        fine, coarse = self.features(x)
        context = self.bot_aspp(self.aspp(coarse))
        context = interpolate(context, fine.shape[-2:], mode='bilinear', align_corners=True)
        return self.final(torch.cat([self.bot_fine(fine), context], dim=1))

    def last_layers(self) -> tuple[tuple[nn.Conv2d, int], ...]:
        """Return the layer that gives the logits."""
        layer = self.final[-1]
        assert isinstance(layer, nn.Conv2d)
        return ((layer, layer.in_channels),)


class DeepLabV3PlusMobileNetV2(OodNetwork):
    """
    DeepLabv3+ for the edge; logits at a quarter of the input's resolution.

    2.7 M parameters at 19 classes with the default arguments. In train mode a batch needs two
    images: there is a batch norm after global pooling.

    Parameters
    ----------
    num_classes : int
        C.
    width : float
        Multiplier of the backbone's channels.
    output_stride : int
        Of the backbone: 16, or 8 for finer maps at about three times the work.
    aspp_channels : int
        Of each branch of the pyramid and of the decoder.
    atrous_rates : sequence of three int
        Dilations of the pyramid's 3x3 convolutions at output stride 16, the published ones by
        default. A training crop must be wider than 16 x the largest, or the outer weights of
        that convolution meet nothing but padding, stay random, and disturb larger images.
    is_separable : bool
        Depthwise separable 3x3 convolutions in pyramid and decoder, as in section 3.1 of the
        paper; else plain ones.
    dropout : float
        Probability with which the decoder's channels are dropped in train mode.

    """

    align_corners = False

    def __init__(
        self,
        num_classes: int,
        *,
        width: float = 1.0,
        output_stride: int = 16,
        aspp_channels: int = 256,
        atrous_rates: Sequence[int] = ATROUS_RATES_AT_16,
        is_separable: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if aspp_channels < 8:
            raise ValueError(
                f'aspp_channels must be at least 8, got {aspp_channels}. 256 is the published one.'
            )
        if len(atrous_rates) != len(ATROUS_RATES_AT_16) or min(atrous_rates) < 1:
            raise ValueError(
                f'atrous_rates must be three dilations of at least 1, got {list(atrous_rates)}. '
                f'{ATROUS_RATES_AT_16} are the published ones.'
            )
        self.num_classes = num_classes
        self.backbone = MobileNetV2(width=width, output_stride=output_stride)
        self.stride = output_stride
        block = separable_conv_bn_relu if is_separable else conv_bn_relu
        inputs = self.backbone.coarse_channels
        rates = [rate * 16 // output_stride for rate in atrous_rates]
        self.pyramid = nn.ModuleList(
            [
                nn.Sequential(*conv_bn_relu(inputs, aspp_channels)),
                *(
                    nn.Sequential(*block(inputs, aspp_channels, kernel=3, dilation=rate))
                    for rate in rates
                ),
            ]
        )
        self.scene = nn.Sequential(*conv_bn_relu(inputs, aspp_channels))
        self.context = nn.Sequential(*conv_bn_relu(5 * aspp_channels, aspp_channels))
        self.fine = nn.Sequential(*conv_bn_relu(self.backbone.fine_channels, FINE_PROJECTION))
        self.decoder = nn.Sequential(
            *block(FINE_PROJECTION + aspp_channels, aspp_channels, kernel=3),
            *block(aspp_channels, aspp_channels, kernel=3),
            nn.Dropout2d(dropout),
            nn.Conv2d(aspp_channels, num_classes, kernel_size=1),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fill_randomly(module)

    def forward(self, x: Tensor) -> Tensor:
        """
        Return the logits at a quarter of the input's resolution.

        Parameters
        ----------
        x : Tensor of shape (N, 3, h0, w0), float
            RGB, normalised with the ImageNet mean and standard deviation.

        Returns
        -------
        Tensor of shape (N, C, ceil(h0 / 4), ceil(w0 / 4)), float
            To be upsampled with align_corners=False.

        """
        fine, coarse = self.backbone(x)
        scene = self.scene(adaptive_avg_pool2d(coarse, 1)).expand(-1, -1, *coarse.shape[-2:])
        context = self.context(torch.cat([scene, *(b(coarse) for b in self.pyramid)], dim=1))
        context = interpolate(context, fine.shape[-2:], mode='bilinear', align_corners=False)
        return self.decoder(torch.cat([self.fine(fine), context], dim=1))

    def last_layers(self) -> tuple[tuple[nn.Conv2d, int], ...]:
        """Return the layer that gives the logits."""
        layer = self.decoder[-1]
        assert isinstance(layer, nn.Conv2d)
        return ((layer, layer.in_channels),)


class _PublishedAspp(nn.Module):
    """Atrous spatial pyramid pooling at output stride 8: (N, inputs, h, w) -> (N, 5 w, h, w)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        rates = [2 * rate for rate in ATROUS_RATES_AT_16]
        branches = [conv_bn_relu(inputs, width)]
        branches += [conv_bn_relu(inputs, width, kernel=3, dilation=rate) for rate in rates]
        self.features = nn.ModuleList(nn.Sequential(*layers) for layers in branches)
        self.img_conv = nn.Sequential(*conv_bn_relu(inputs, width))

    def forward(self, x: Tensor) -> Tensor:
        scene = self.img_conv(adaptive_avg_pool2d(x, 1)).expand(-1, -1, *x.shape[-2:])
        return torch.cat([scene, *(branch(x) for branch in self.features)], dim=1)


def fill_randomly(conv: nn.Conv2d) -> None:
    """Fill as He et al. 2015 do by outgoing connections, which PyTorch counts over all groups."""
    connections = conv.out_channels // conv.groups * math.prod(conv.kernel_size)
    nn.init.normal_(conv.weight, std=math.sqrt(2 / connections))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def conv_bn_relu(
    inputs: int, outputs: int, *, kernel: int = 1, dilation: int = 1
) -> list[nn.Module]:
    """Return the layers of a convolution that keeps the size."""
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]


def separable_conv_bn_relu(
    inputs: int, outputs: int, *, kernel: int, dilation: int = 1
) -> list[nn.Module]:
    """Return the same as a depthwise and a 1x1 convolution, each with norm and ReLU."""
    padding = dilation * (kernel // 2)
    depthwise = nn.Conv2d(
        inputs, inputs, kernel, padding=padding, dilation=dilation, groups=inputs, bias=False
    )
    return [depthwise, nn.BatchNorm2d(inputs), nn.ReLU(), *conv_bn_relu(inputs, outputs)]
