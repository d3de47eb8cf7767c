"""
ESPNetv2 for semantic segmentation: Mehta, Rastegari, Shapiro, Hajishirzi, CVPR 2019.

The names of the layers are those of the published weights (526 entries at scale 2.0), so that
they load by name. Encoder: EESP units, i.e. reduce, split into dilated depthwise branches, fuse
hierarchically, merge. Decoder: efficient pyramid pooling, upsampled and merged with the encoder's
levels four times; its last output, at half the input's resolution, is the logits.
"""

from collections import OrderedDict
from collections.abc import Mapping
import math

from meta_ood_ros.core.networks.ood_network import OodNetwork
import torch
from torch import nn, Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, interpolate

# Channels of levels 1 to 4 at each width multiplier (table 1 of the paper and the published code).
CHANNELS = {
    0.5: (16, 32, 64, 128),
    1.0: (32, 64, 128, 256),
    1.25: (32, 80, 160, 320),
    1.5: (32, 96, 192, 384),
    2.0: (32, 128, 256, 512),
}
BRANCHES = 4
PYRAMID_SCALES = (2.0, 1.5, 1.0, 0.5, 0.1)
SMALLEST_PYRAMID_SIDE = 5
# The published decoder takes min(classes // 2, 16) channels, 10 for its 20 Cityscapes outputs. A
# constant keeps the decoder the same when the unused 20th output is dropped.
PYRAMID_CHANNELS = 10
DECODER_CHANNELS = (64, 48, 32)
PUBLISHED_CITYSCAPES_OUTPUTS = 20
CITYSCAPES_CLASSES = 19
_HEAD = ('bu_dec_l4.merge_layer.3.weight', 'bu_dec_l4.merge_layer.3.bias')


class EspNetV2(OodNetwork):
    """
    ESPNetv2 segmentation network; logits at half the input's resolution.

    Parameters
    ----------
    num_classes : int
        C.
    scale : float
        Width multiplier of the encoder, one of 0.5, 1.0, 1.25, 1.5, 2.0.

    """

    stride = 16
    align_corners = True

    def __init__(self, num_classes: int, *, scale: float = 2.0) -> None:
        super().__init__()
        if scale not in CHANNELS:
            known = ', '.join(str(key) for key in CHANNELS)
            raise ValueError(f'scale must be one of {known}, got {scale}. Use a published width.')
        self.num_classes = num_classes
        channels = CHANNELS[scale]
        top, middle, bottom = DECODER_CHANNELS
        self.base_net = _Encoder(channels)
        self.bu_dec_l1 = _PyramidPool(channels[3], top)
        self.bu_dec_l2 = _PyramidPool(top, middle)
        self.bu_dec_l3 = _PyramidPool(middle, bottom)
        self.bu_dec_l4 = _PyramidPool(bottom, num_classes, is_last=True)
        self.merge_enc_dec_l2 = _GatedProjection(channels[2], top)
        self.merge_enc_dec_l3 = _GatedProjection(channels[1], middle)
        self.merge_enc_dec_l4 = _GatedProjection(channels[0], bottom)
        self.bu_br_l2 = nn.Sequential(nn.BatchNorm2d(top), nn.PReLU(top))
        self.bu_br_l3 = nn.Sequential(nn.BatchNorm2d(middle), nn.PReLU(middle))
        self.bu_br_l4 = nn.Sequential(nn.BatchNorm2d(bottom), nn.PReLU(bottom))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out')
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

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
        level1, level2, level3, level4 = self.base_net(x)
        decoded = self.bu_dec_l1(level4)
        decoded = self.bu_br_l2(_add_upsampled(self.merge_enc_dec_l2(level3), decoded))
        decoded = self.bu_dec_l2(decoded)
        decoded = self.bu_br_l3(_add_upsampled(self.merge_enc_dec_l3(level2), decoded))
        decoded = self.bu_dec_l3(decoded)
        decoded = self.bu_br_l4(_add_upsampled(self.merge_enc_dec_l4(level1), decoded))
        return self.bu_dec_l4(decoded)


def cityscapes_19(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """
    Return the published Cityscapes weights without their 20th output, for num_classes=19.

    Outputs 0 to 18 are the Cityscapes train ids; the 20th stood for unlabelled pixels. The number
    of outputs occurs in one layer only, the last 1x1 convolution (20, 10, 1, 1) with its bias:
    no normalisation, activation or mixing follows it. So dropping its last row is exact: the
    remaining 19 logits are the ones that the 20-output network computes.

    Parameters
    ----------
    state_dict : mapping of str to Tensor
        The published weights, 526 entries at scale 2.0, as `load_checkpoint` gives them.

    Returns
    -------
    dict of str to Tensor
        The same entries; those of the last convolution have 19 rows.

    """
    converted = dict(state_dict)
    for key in _HEAD:
        rows = converted[key].shape[0] if key in converted else 0
        if rows != PUBLISHED_CITYSCAPES_OUTPUTS:
            raise ValueError(
                f'{key} must have {PUBLISHED_CITYSCAPES_OUTPUTS} rows, got {rows}. '
                'Give the published Cityscapes weights of ESPNetv2.'
            )
        converted[key] = converted[key][:CITYSCAPES_CLASSES].clone()
    return converted


class _Encoder(nn.Module):
    """Levels 1 to 4 of ESPNetv2: (N, 3, h0, w0) -> maps at strides 2, 4, 8 and 16."""

    def __init__(self, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.level1 = _conv_bn_act(3, channels[0], kernel=3, stride=2)
        self.level2_0 = _StridedEesp(channels[0], channels[1], dilations=(1, 2, 3, 4))
        self.level3_0 = _StridedEesp(channels[1], channels[2], dilations=(1, 2, 3, 4))
        self.level3 = nn.Sequential(*(_eesp(channels[2], (1, 2, 3, 4)) for _ in range(3)))
        self.level4_0 = _StridedEesp(channels[2], channels[3], dilations=(1, 2, 3, 4))
        # The receptive field of one branch is limited to 7 here: 3, 3, 5, 7 instead of 3, 5, 7, 9.
        self.level4 = nn.Sequential(*(_eesp(channels[3], (1, 1, 2, 3)) for _ in range(7)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        # The image itself, averaged down, reinforces each strided unit; one pyramid serves all.
        quarter = _halved(_halved(x))
        eighth = _halved(quarter)
        level1 = self.level1(x)
        level2 = self.level2_0(level1, quarter)
        level3 = self.level3(self.level3_0(level2, eighth))
        level4 = self.level4(self.level4_0(level3, _halved(eighth)))
        return level1, level2, level3, level4


class _Eesp(nn.Module):
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
        self.proj_1x1 = _conv_bn_act(inputs, narrow, groups=BRANCHES)
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


def _eesp(channels: int, dilations: tuple[int, ...]) -> _Eesp:
    return _Eesp(channels, channels, dilations=dilations)


class _StridedEesp(nn.Module):
    """
    Strided EESP with the shortcut to the image (figure 2 of the paper).

    (N, inputs, h, w) and the image (N, 3, h/2, w/2) -> (N, outputs, h/2, w/2).
    """

    def __init__(self, inputs: int, outputs: int, *, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.eesp = _Eesp(inputs, outputs - inputs, dilations=dilations, stride=2)
        self.inp_reinf = nn.Sequential(_conv_bn_act(3, 3, kernel=3), _conv_bn(3, outputs))
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        joined = torch.cat([_halved(x), self.eesp(x)], dim=1)
        return self.act(joined + self.inp_reinf(image))


class _PyramidPool(nn.Module):
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
            nn.ChannelShuffle(scales),  # so that each group of the next layer sees all scales
            _cbr(width * scales, width, kernel=3, groups=width),
            nn.Conv2d(width, outputs, kernel_size=1, bias=is_last),
        )
        self.br: nn.Module = nn.Identity() if is_last else _br(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.projection_layer(x)
        pyramid = [
            _at_scale(x, scale, stage)
            for scale, stage in zip(PYRAMID_SCALES, self.stages, strict=True)
        ]
        return self.br(self.merge_layer(torch.cat(pyramid, dim=1)))


def _at_scale(x: Tensor, scale: float, stage: nn.Module) -> Tensor:
    if scale == 1.0:
        return stage(x)
    height, width = x.shape[-2:]
    size = (height, width)
    scaled = (_scaled(height, scale), _scaled(width, scale))
    if scale > 1.0:
        enlarged = interpolate(x, scaled, mode='bilinear', align_corners=True)
        return adaptive_avg_pool2d(stage(enlarged), size)
    reduced = stage(adaptive_avg_pool2d(x, scaled))
    return interpolate(reduced, size, mode='bilinear', align_corners=True)


def _scaled(side: int, scale: float) -> int:
    return max(math.ceil(side * scale), SMALLEST_PYRAMID_SIDE)


class _GatedProjection(nn.Module):
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


def _add_upsampled(encoded: Tensor, decoded: Tensor) -> Tensor:
    size = encoded.shape[-2:]
    return encoded + interpolate(decoded, size, mode='bilinear', align_corners=True)


def _halved(x: Tensor) -> Tensor:
    return avg_pool2d(x, kernel_size=3, stride=2, padding=1)


def _named(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def _conv(inputs: int, outputs: int, *, kernel: int, stride: int = 1, groups: int) -> nn.Conv2d:
    padding = kernel // 2
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)


def _conv_bn_act(
    inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
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
