"""The units that ESPNetv2 is made of, with the published names of their layers."""

from collections import OrderedDict
import math

import numpy as np
import torch
from torch import nn, Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, interpolate

BRANCHES = 4
PYRAMID_SCALES = (2.0, 1.5, 1.0, 0.5, 0.1)
SMALLEST_PYRAMID_SIDE = 5
# The published decoder takes min(classes // 2, 16) channels, 10 for its 20 Cityscapes outputs. A
# constant keeps the decoder the same when the unused 20th output is dropped.
PYRAMID_CHANNELS = 10


class Eesp(nn.Module):
    """
    EESP unit: reduce, split over dilations, fuse hierarchically, merge (figure 1c of the paper).

    (N, inputs, h, w) -> (N, outputs, h / stride, w / stride). With stride 1 the input is added
    and the sum activated; with stride 2 the caller adds and activates.
    """

    def __init__(
        self, inputs: int, outputs: int, *, dilations: tuple[int, ...], stride: int = 1
    ) -> None:
        super().__init__()
        narrow = outputs // BRANCHES
        self.is_residual = stride == 1
        self.proj_1x1 = conv_bn_act(inputs, narrow, groups=BRANCHES)
        self.spp_dw = nn.ModuleList(
            _named(
                conv=nn.Conv2d(
                    narrow,
                    narrow,
                    kernel_size=3,
                    stride=stride,
                    padding=dilation,
                    dilation=dilation,
                    groups=narrow,
                    bias=False,
                )
            )
            for dilation in dilations
        )
        self.conv_1x1_exp = _conv_bn(outputs, outputs, groups=BRANCHES)
        self.br_after_cat = _named(bn=nn.BatchNorm2d(outputs), act=nn.PReLU(outputs))
        self.module_act = nn.PReLU(outputs)
        if not self.is_residual:
            # The published weights hold this activation in strided units too, where nothing uses
            # it. Without a gradient it must not count as a parameter that lacks one (DDP).
            self.module_act.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        reduced = self.proj_1x1(x)
        fused = self.spp_dw[0](reduced)
        branches = [fused]
        for branch in list(self.spp_dw)[1:]:
            fused = fused + branch(reduced)
            branches.append(fused)
        merged = self.conv_1x1_exp(self.br_after_cat(torch.cat(branches, dim=1)))
        return self.module_act(merged + x) if self.is_residual else merged


class StridedEesp(nn.Module):
    """
    Strided EESP with the shortcut to the image (figure 2 of the paper).

    (N, inputs, h, w) and the image (N, 3, h/2, w/2) -> (N, outputs, h/2, w/2).
    """

    def __init__(self, inputs: int, outputs: int, *, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.eesp = Eesp(inputs, outputs - inputs, dilations=dilations, stride=2)
        self.inp_reinf = nn.Sequential(conv_bn_act(3, 3, kernel=3), _conv_bn(3, outputs))
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        joined = torch.cat([halved(x), self.eesp(x)], dim=1)
        return self.act(joined + self.inp_reinf(image))


class PyramidPool(nn.Module):
    """
    Efficient pyramid pooling: depthwise 3x3 at five scales, merged channel by channel.

    (N, inputs, h, w) -> (N, outputs, h, w). The last one gives plain scores with a bias.
    """

    def __init__(self, inputs: int, outputs: int, *, is_last: bool = False) -> None:
        super().__init__()
        width, scales = PYRAMID_CHANNELS, len(PYRAMID_SCALES)
        self.projection_layer = _cbr(inputs, width)
        self.stages = nn.ModuleList(
            nn.Conv2d(width, width, kernel_size=3, padding=1, groups=width, bias=False)
            for _ in PYRAMID_SCALES
        )
        self.merge_layer = nn.Sequential(
            _br(width * scales),
            Interleave(scales),  # so that each group of the next layer sees all scales
            _cbr(width * scales, width, kernel=3, groups=width),
            nn.Conv2d(width, outputs, kernel_size=1, bias=is_last),
        )
        self.br: nn.Module = nn.Identity() if is_last else _br(outputs)

    def last_layer(self) -> tuple[nn.Conv2d, int]:
        """Return the convolution that gives the outputs, and how many of its inputs count."""
        layer = self.merge_layer[3]
        assert isinstance(layer, nn.Conv2d)
        return layer, layer.in_channels

    def forward(self, x: Tensor) -> Tensor:
        x = self.projection_layer(x)
        pyramid = [
            at_scale(x, scale, stage)
            for scale, stage in zip(PYRAMID_SCALES, self.stages, strict=True)
        ]
        return self.br(self.merge_layer(torch.cat(pyramid, dim=1)))


class Interleave(nn.Module):
    """Channels of `parts` blocks, taken in turn: (N, c, h, w), a1 a2 b1 b2 -> a1 b1 a2 b2."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.parts, -1)).transpose(1, 2).flatten(1, 2)


def at_scale(x: Tensor, scale: float, stage: nn.Module) -> Tensor:
    """
    Return what a stage makes of a map at another scale, brought back to the map's grid.

    Parameters
    ----------
    x : Tensor of shape (N, c, h, w)
        The map.
    scale : float
        Above 1 it is enlarged before and averaged after; below 1 the other way round.

    Returns
    -------
    Tensor of shape (N, c, h, w)
        Every value is an average of values of the stage, with weights that add up to 1.

    """
    if scale == 1.0:
        return stage(x)
    height, width = (int(side) for side in x.shape[-2:])
    size = (height, width)
    scaled = (_scaled(height, scale), _scaled(width, scale))
    if scale > 1.0:
        enlarged = interpolate(x, scaled, mode='bilinear', align_corners=True)
        return mean_pool(stage(enlarged), size)
    reduced = stage(mean_pool(x, scaled))
    return interpolate(reduced, size, mode='bilinear', align_corners=True)


def mean_pool(x: Tensor, size: tuple[int, int]) -> Tensor:
    """
    Return the means (N, c, *size) over the windows of adaptive average pooling.

    ONNX has no such operator for windows of unequal sizes, so an exported graph spells it out:
    plain pooling where the windows are equal or overlap in the 3 : 2 pattern, else the product
    with one averaging matrix a side.
    """
    if not torch.onnx.is_in_onnx_export():
        return adaptive_avg_pool2d(x, size)
    sides = [int(side) for side in x.shape[-2:]]
    if all(side % wanted == 0 for side, wanted in zip(sides, size, strict=True)):
        return avg_pool2d(x, [side // wanted for side, wanted in zip(sides, size, strict=True)])
    if all(2 * side == 3 * wanted for side, wanted in zip(sides, size, strict=True)):
        # windows 0-1, 1-2, 3-4, 4-5, ...: those of stride 1 without every third
        kept = [
            torch.tensor([i for i in range(side - 1) if i % 3 < 2], device=x.device)
            for side in sides
        ]
        means = avg_pool2d(x, kernel_size=2, stride=1)
        return means.index_select(2, kept[0]).index_select(3, kept[1])
    rows, columns = (_means(side, wanted).to(x) for side, wanted in zip(sides, size, strict=True))
    return rows @ x @ columns.T


def _means(side: int, wanted: int) -> Tensor:
    """Return the matrix (wanted, side) that averages the windows of adaptive pooling."""
    # numpy, because the exporter would record every step that torch takes
    matrix = np.zeros((wanted, side), dtype=np.float32)
    for i in range(wanted):
        first, end = i * side // wanted, -(-(i + 1) * side // wanted)
        matrix[i, first:end] = 1.0 / (end - first)
    return torch.from_numpy(matrix)


def _scaled(side: int, scale: float) -> int:
    return max(math.ceil(side * scale), SMALLEST_PYRAMID_SIDE)


class GatedProjection(nn.Module):
    """Encoder level -> decoder channels: grouped 3x3, each channel gated by the global mean."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.wt_layer = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(inputs, outputs, kernel_size=1, bias=False),
            nn.Sigmoid(),
        )
        self.expansion_layer = _cbr(inputs, outputs, kernel=3, groups=math.gcd(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.expansion_layer(x) * self.wt_layer(x)


def add_upsampled(encoded: Tensor, decoded: Tensor) -> Tensor:
    """Return encoded (N, c, h, w) + decoded (N, c, h', w'), the latter upsampled to (h, w)."""
    size = encoded.shape[-2:]
    return encoded + interpolate(decoded, size, mode='bilinear', align_corners=True)


def halved(x: Tensor) -> Tensor:
    """Return the 3x3 averages (N, c, ceil(h / 2), ceil(w / 2)) of (N, c, h, w)."""
    return avg_pool2d(x, kernel_size=3, stride=2, padding=1)


def _named(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def _conv(inputs: int, outputs: int, *, kernel: int, stride: int = 1, groups: int) -> nn.Conv2d:
    padding = kernel // 2
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)


def conv_bn_act(
    inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Return convolution, batch norm and PReLU, named as the encoder was published."""
    conv = _conv(inputs, outputs, kernel=kernel, stride=stride, groups=groups)
    return _named(conv=conv, bn=nn.BatchNorm2d(outputs), act=nn.PReLU(outputs))


def _conv_bn(inputs: int, outputs: int, *, groups: int = 1) -> nn.Sequential:
    conv = _conv(inputs, outputs, kernel=1, groups=groups)
    return _named(conv=conv, bn=nn.BatchNorm2d(outputs))


# The decoder was published with its own wrappers: `cbr.0`, `cbr.1` instead of `conv`, `bn`.
def _cbr(inputs: int, outputs: int, *, kernel: int = 1, groups: int = 1) -> nn.Sequential:
    conv = _conv(inputs, outputs, kernel=kernel, groups=groups)
    return _named(cbr=nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.PReLU(outputs)))


def _br(channels: int) -> nn.Sequential:
    return _named(br=nn.Sequential(nn.BatchNorm2d(channels), nn.PReLU(channels)))
