"""
DeepLabv3+ on MobileNet-EdgeTPU: the published DeepLabv3, and a decoder that starts as nothing.

The weights published for Cityscapes have batch norm folded into weights and biases.
"""

from collections.abc import Mapping
import re

from meta_ood_ros.core.networks.deeplabv3plus import (
    conv_bn_relu,
    fill_randomly,
    FINE_PROJECTION,
    separable_conv_bn_relu,
)
from meta_ood_ros.core.networks.mobilenet_edgetpu import MobileNetEdgeTpu
from meta_ood_ros.core.networks.ood_network import OodNetwork
from meta_ood_ros.core.networks.outlier_decoder import HeadBlock, MAX_CHANNELS, mix_outliers
from meta_ood_ros.core.networks.same_conv import SameConv
import torch
from torch import nn, Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

HEAD_CHANNELS = 128
MIN_DECODER_CHANNELS = 8
# The published file numbers its convolutions by their place among all operators of the graph.
_NUMBERED = re.compile(r'(\d{3})_(weight|bias)')


class DeepLabV3PlusMobileNetEdgeTpu(OodNetwork):
    """
    The published DeepLabv3 for edge accelerators, optionally with the decoder of DeepLabv3+.

    2.06 M parameters at 19 classes without decoder; logits at a sixteenth of the input's
    resolution, or at a quarter with it. Only the decoder has batch norms.

    Parameters
    ----------
    num_classes : int
        C.
    decoder_channels : int
        Width of the decoder on the features at stride 4; 0, the published network, has none. The
        decoder adds to the upsampled logits, and its last layer starts as zero: a new one
        changes nothing until it is trained.
    is_centred : bool
        False computes the published graph, whose grid lines up with the image's where the sides
        are 16 k + 1: it was trained so. True shifts the windows of the strided convolutions so
        that it lines up where they are multiples of 16, as `stride` makes them.
    outlier_channels : int
        Width of the outlier decoder, by which the logits are then made milder; 0 has
        none.

    """

    stride = 16
    outlier_inputs = ('local', 'last_layer')
    input_mean = input_std = (128 / 255, 128 / 255, 128 / 255)

    def __init__(
        self,
        num_classes: int,
        *,
        decoder_channels: int = 0,
        is_centred: bool = False,
        outlier_channels: int = 0,
    ) -> None:
        super().__init__()
        if decoder_channels != 0 and not MIN_DECODER_CHANNELS <= decoder_channels <= MAX_CHANNELS:
            raise ValueError(
                f'decoder_channels must be 0 or from {MIN_DECODER_CHANNELS} to {MAX_CHANNELS}, '
                f'got {decoder_channels}. 0 is the published network, which has no decoder.'
            )
        self.num_classes = num_classes
        self.backbone = MobileNetEdgeTpu(is_centred=is_centred)
        self.align_corners = not is_centred
        inputs = self.backbone.coarse_channels
        self.local = nn.Sequential(SameConv(inputs, HEAD_CHANNELS, 1), nn.ReLU())
        self.scene = nn.Sequential(SameConv(inputs, HEAD_CHANNELS, 1), nn.ReLU())
        self.context = nn.Sequential(SameConv(2 * HEAD_CHANNELS, HEAD_CHANNELS, 1), nn.ReLU())
        self.logits = SameConv(HEAD_CHANNELS, num_classes, 1, is_linear=True)
        self.decoder: _Decoder | None = None
        if decoder_channels:
            self.decoder = _Decoder(self.backbone.fine_channels, decoder_channels, num_classes)
        self.outlier: HeadBlock | None = None
        if outlier_channels:
            channels = (inputs, HEAD_CHANNELS + decoder_channels)
            self.outlier = HeadBlock(channels, 1, hidden=outlier_channels)

    def forward(self, x: Tensor) -> Tensor:
        """
        Return the logits at a sixteenth of the input's resolution, or at a quarter.

        Parameters
        ----------
        x : Tensor of shape (N, 3, h0, w0), float
            RGB in [-1, 1): (u8 - 128) / 128, so mean and standard deviation are both 128 / 255.

        Returns
        -------
        Tensor of shape (N, C, ceil(h0 / s), ceil(w0 / s)), float
            To be upsampled as `align_corners` says; s is 16, or 4 with a decoder.

        """
        fine, coarse = self.backbone(x)
        scene = self.scene(adaptive_avg_pool2d(coarse, 1)).expand(-1, -1, *coarse.shape[-2:])
        context = self.context(torch.cat([scene, self.local(coarse)], dim=1))
        logits, features, corners = self.logits(context), [context], self.align_corners
        if self.decoder is not None:
            size = fine.shape[-2:]
            logits = interpolate(logits, size, mode='bilinear', align_corners=corners)
            context = interpolate(context, size, mode='bilinear', align_corners=corners)
            refined = self.decoder(fine, context)
            logits = logits + self.decoder.logits(refined)
            features = [context, refined]
        if self.outlier is None:
            return logits
        planes = self.outlier((coarse, torch.cat(features, dim=1)))
        return mix_outliers(logits, planes, align_corners=corners)

    def last_layers(self) -> tuple[tuple[nn.Conv2d, int], ...]:
        """Return the layer that gives the logits of classes, and the one that the decoder adds."""
        layers = [self.logits, *([] if self.decoder is None else [self.decoder.logits])]
        return tuple((layer, layer.in_channels) for layer in layers)

    def own_names(self, state_dict: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """
        Return weights without decoder, published ones under this network's names, with its own.

        Parameters
        ----------
        state_dict : mapping of str to Tensor
            `000_weight`, `000_bias`, ... of the published file, in the order of its graph; or
            those of a network of this class.

        Returns
        -------
        mapping of str to Tensor
            With the present values of the decoder where there is none among them; an outlier
            decoder starts as no network that anyone wants, so its weights must be there.

        """
        own = self.state_dict()
        decoder = {name: value for name, value in own.items() if name.startswith('decoder.')}
        numbered = [_NUMBERED.fullmatch(name) for name in state_dict]
        places = sorted({match[1] for match in numbered if match})
        if len(places) * 2 != len(state_dict):
            has_decoder = any(name.startswith('decoder.') for name in state_dict)
            return state_dict if has_decoder else {**state_dict, **decoder}
        convs = [name.removesuffix('.weight') for name in own if name.endswith('.weight')]
        convs = [name for name in convs if not name.startswith(('decoder.', 'outlier.'))]
        if len(places) != len(convs):
            raise ValueError(
                f'Published weights must be those of the {len(convs)} convolutions of '
                f'{type(self).__name__}, got {len(places)}. Give the file of DeepLabv3 with '
                'MobileNet-EdgeTPU of depth multiplier 0.75.'
            )
        renamed = {
            f'{conv}.{kind}': state_dict[f'{place}_{kind}']
            for place, conv in zip(places, convs, strict=True)
            for kind in ('weight', 'bias')
        }
        return renamed | decoder


class _Decoder(nn.Module):
    """Section 3.2 of DeepLabv3+: project fine features, join the context, refine; from zero."""

    def __init__(self, fine_channels: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.fine = nn.Sequential(*conv_bn_relu(fine_channels, FINE_PROJECTION))
        self.refine = nn.Sequential(
            *separable_conv_bn_relu(FINE_PROJECTION + HEAD_CHANNELS, channels, kernel=3),
            *separable_conv_bn_relu(channels, channels, kernel=3),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fill_randomly(module)
        self.logits = nn.Conv2d(channels, num_classes, kernel_size=1)
        nn.init.zeros_(self.logits.weight)
        assert self.logits.bias is not None
        nn.init.zeros_(self.logits.bias)

    def forward(self, fine: Tensor, context: Tensor) -> Tensor:
        return self.refine(torch.cat([self.fine(fine), context], dim=1))
