"""
ESPNetv2 for semantic segmentation: Mehta, Rastegari, Shapiro, Hajishirzi, CVPR 2019.

The names of the layers are those of the published weights (526 entries at scale 2.0), so that
they load by name. Encoder: EESP units, i.e. reduce, split into dilated depthwise branches, fuse
hierarchically, merge. Decoder: efficient pyramid pooling, upsampled and merged with the encoder's
levels four times; its last output, at half the input's resolution, is the logits.
"""

from collections.abc import Mapping

from meta_ood_ros.core.networks.espnet_units import (
    add_upsampled,
    conv_bn_act,
    Eesp,
    GatedProjection,
    halved,
    PyramidPool,
    StridedEesp,
)
from meta_ood_ros.core.networks.ood_network import OodNetwork
from torch import nn, Tensor

# Channels of levels 1 to 4 at each width multiplier (table 1 of the paper and the published code).
CHANNELS = {
    0.5: (16, 32, 64, 128),
    1.0: (32, 64, 128, 256),
    1.25: (32, 80, 160, 320),
    1.5: (32, 96, 192, 384),
    2.0: (32, 128, 256, 512),
}
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
        self.bu_dec_l1 = PyramidPool(channels[3], top)
        self.bu_dec_l2 = PyramidPool(top, middle)
        self.bu_dec_l3 = PyramidPool(middle, bottom)
        self.bu_dec_l4 = PyramidPool(bottom, num_classes, is_last=True)
        self.merge_enc_dec_l2 = GatedProjection(channels[2], top)
        self.merge_enc_dec_l3 = GatedProjection(channels[1], middle)
        self.merge_enc_dec_l4 = GatedProjection(channels[0], bottom)
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
        decoded = self.bu_br_l2(add_upsampled(self.merge_enc_dec_l2(level3), decoded))
        decoded = self.bu_dec_l2(decoded)
        decoded = self.bu_br_l3(add_upsampled(self.merge_enc_dec_l3(level2), decoded))
        decoded = self.bu_dec_l3(decoded)
        decoded = self.bu_br_l4(add_upsampled(self.merge_enc_dec_l4(level1), decoded))
        return self.bu_dec_l4(decoded)

    def last_layers(self) -> tuple[tuple[nn.Conv2d, int], ...]:
        """Return the last layer of the last pyramid, folded or not."""
        return (self.bu_dec_l4.last_layer(),)


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
        self.level1 = conv_bn_act(3, channels[0], kernel=3, stride=2)
        self.level2_0 = StridedEesp(channels[0], channels[1], dilations=(1, 2, 3, 4))
        self.level3_0 = StridedEesp(channels[1], channels[2], dilations=(1, 2, 3, 4))
        self.level3 = nn.Sequential(*(_eesp(channels[2], (1, 2, 3, 4)) for _ in range(3)))
        self.level4_0 = StridedEesp(channels[2], channels[3], dilations=(1, 2, 3, 4))
        # The receptive field of one branch is limited to 7 here: 3, 3, 5, 7 instead of 3, 5, 7, 9.
        self.level4 = nn.Sequential(*(_eesp(channels[3], (1, 1, 2, 3)) for _ in range(7)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        # The image itself, averaged down, reinforces each strided unit; one pyramid serves all.
        quarter = halved(halved(x))
        eighth = halved(quarter)
        level1 = self.level1(x)
        level2 = self.level2_0(level1, quarter)
        level3 = self.level3(self.level3_0(level2, eighth))
        level4 = self.level4(self.level4_0(level3, halved(eighth)))
        return level1, level2, level3, level4


def _eesp(channels: int, dilations: tuple[int, ...]) -> Eesp:
    return Eesp(channels, channels, dilations=dilations)
