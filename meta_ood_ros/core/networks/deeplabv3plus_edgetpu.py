"""
DeepLabv3+ on MobileNet-EdgeTPU: the published DeepLabv3, and a decoder that starts as nothing.

The weights published for Cityscapes have batch norm folded into weights and biases.
"""

from collections.abc import Mapping, Sequence
import re
from typing import Any

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
#: Stride -> the layer whose input is the map that an outlier decoder looks at.
OUTLIER_LAYERS = {16: 'local', 8: 'backbone.coarse.4', 4: 'backbone.coarse', 2: 'backbone.fine'}
_LAST_LAYER = 0
"""Stands for the input of the last layer among strides."""
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
    outlier_strides : sequence of int
        Of the maps that the outlier decoder looks at beside the input of the last layer, among
        16, 8, 4 and 2. It works at the resolution of the finest: what lies close together is
        told apart where fine maps are among them.

    """

    stride = 16
    outlier_inputs: tuple[str, ...] = ('local', 'last_layer')
    input_mean = input_std = (128 / 255, 128 / 255, 128 / 255)

    def __init__(
        self,
        num_classes: int,
        *,
        decoder_channels: int = 0,
        is_centred: bool = False,
        outlier_channels: int = 0,
        outlier_strides: Sequence[int] = (16,),
    ) -> None:
        super().__init__()
        _check_strides(outlier_strides)
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
        self.outlier_maps = _order_maps(outlier_strides, decoder_channels)
        self.outlier_inputs = _layers(self.outlier_maps)
        if outlier_channels:
            channels = self.backbone.channels | {_LAST_LAYER: HEAD_CHANNELS + decoder_channels}
            seen = [channels[one] for one in self.outlier_maps]
            self.outlier = HeadBlock(seen, 1, hidden=outlier_channels)

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
        maps = self.backbone(x)
        fine, coarse = maps[4], maps[16]
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
        maps[_LAST_LAYER] = torch.cat(features, dim=1)
        planes = self.outlier([maps[one] for one in self.outlier_maps])
        return mix_outliers(logits, planes, align_corners=corners)

    @classmethod
    def outlier_arguments(
        cls, inputs: Sequence[str], arguments: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Return the strides of a decoder that looks at these layers, see `OodNetwork`."""
        strides = [one for one, layer in OUTLIER_LAYERS.items() if layer in inputs]
        ordered = _order_maps(strides, arguments.get('decoder_channels', 0))
        if not strides or _layers(ordered) != tuple(inputs):
            return None
        return {} if tuple(inputs) == cls.outlier_inputs else {'outlier_strides': strides}

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


def _check_strides(strides: Sequence[int]) -> None:
    known = list(OUTLIER_LAYERS)
    if not strides or any(one not in known for one in strides) or len({*strides}) < len(strides):
        raise ValueError(
            f'outlier_strides must name some of {", ".join(map(str, known))}, each once, got '
            f'{list(strides)}. [16] is the coarse map alone.'
        )


def _layers(maps: Sequence[int]) -> tuple[str, ...]:
    names = OUTLIER_LAYERS | {_LAST_LAYER: 'last_layer'}
    return tuple(names[one] for one in maps)


def _order_maps(strides: Sequence[int], decoder_channels: int) -> tuple[int, ...]:
    """Return the maps that an outlier decoder looks at from coarse to fine, by stride."""
    last = 4 if decoder_channels else 16
    placed = [(-one, 0, one) for one in strides] + [(-last, 1, _LAST_LAYER)]
    return tuple(one for *_, one in sorted(placed))


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
