"""
EfficientViT for segmentation, variant B0: Cai, Li, Hu, Gan, Han, ICCV 2023.

The names of the layers are those of the published weights (230 entries). Convolutional stages to
stride 8, stages with linear attention to strides 16 and 32, and a head that adds the maps of the
last three at stride 8.
"""

from collections import OrderedDict
from collections.abc import Iterable

from meta_ood_ros.core.networks.conv_norm_act import (
    Branch,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedBottleneck,
)
from meta_ood_ros.core.networks.linear_attention import LinearAttention
from meta_ood_ros.core.networks.ood_network import OodNetwork
from meta_ood_ros.core.networks.outlier_decoder import HeadBlock, mix_outliers
from torch import nn, Tensor
from torch.nn.functional import interpolate

# Channels of stem and stages, and blocks of the stages after the strided one (table 1, B0).
STEM_CHANNELS = 8
CONV_STAGES = ((16, 1), (32, 1))
ATTENTION_STAGES = ((64, 2), (128, 2))
HEAD_WIDTH = 32
HEAD_EXPANSION = 4


class EfficientVitSegB0(OodNetwork):
    """
    EfficientViT-Seg-B0; logits at an eighth of the input's resolution.

    0.71 M parameters at 19 classes. The attention is computed in float32 whatever the precision
    of the rest.

    Parameters
    ----------
    num_classes : int
        C.
    outlier_channels : int
        Width of the outlier decoder, by which the logits are then made milder, at a
        quarter of the input's resolution; 0 has none.

    """

    stride = 32
    align_corners = False
    outlier_inputs = ('head.input_ops.0', 'last_layer', 'backbone.stages.1')

    def __init__(self, num_classes: int, *, outlier_channels: int = 0) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.backbone = _Backbone()
        self.head = _Head((128, 64, 32), num_classes)
        self.outlier: HeadBlock | None = None
        if outlier_channels:
            channels = (128, HEAD_EXPANSION * HEAD_WIDTH, CONV_STAGES[0][0])
            self.outlier = HeadBlock(channels, 1, hidden=outlier_channels)

    def forward(self, x: Tensor) -> Tensor:
        """
        Return the logits at an eighth of the input's resolution.

        Parameters
        ----------
        x : Tensor of shape (N, 3, h0, w0), float
            RGB, normalised with the ImageNet mean and standard deviation.

        Returns
        -------
        Tensor of shape (N, C, ceil(h0 / 8), ceil(w0 / 8)), float
            To be upsampled with align_corners=False.

        """
        fine, *maps = self.backbone(x)
        features = self.head(maps)
        logits = self.head.classify(features)
        if self.outlier is None:
            return logits
        planes = self.outlier((maps[0], features, fine))
        return mix_outliers(logits, planes, align_corners=self.align_corners)

    def last_layers(self) -> tuple[tuple[nn.Conv2d, int], ...]:
        """Return the layer that gives the logits."""
        layer = [one for one in self.head.output_ops.modules() if isinstance(one, nn.Conv2d)][-1]
        return ((layer, layer.in_channels),)


class _Backbone(nn.Module):
    """Stem and four stages: (N, 3, h0, w0) -> maps at strides 4, then 32, 16 and 8."""

    def __init__(self) -> None:
        super().__init__()
        self.input_stem = _operations(
            [ConvNormAct(3, STEM_CHANNELS, 3, stride=2), Branch(DepthwiseSeparable(STEM_CHANNELS))]
        )
        inputs = STEM_CHANNELS
        stages = []
        for channels, repeats in CONV_STAGES:
            strided = Branch(InvertedBottleneck(inputs, channels, stride=2), is_residual=False)
            blocks = [Branch(InvertedBottleneck(channels, channels)) for _ in range(repeats)]
            stages.append(_operations([strided, *blocks]))
            inputs = channels
        for channels, repeats in ATTENTION_STAGES:
            bottleneck = InvertedBottleneck(inputs, channels, stride=2, has_few_norms=True)
            strided = Branch(bottleneck, is_residual=False)
            attention = [_attention_block(channels) for _ in range(repeats)]
            stages.append(_operations([strided, *attention]))
            inputs = channels
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.input_stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return [maps[0], *maps[:0:-1]]


class _Head(nn.Module):
    """Project the three maps to one width, add them on the finest grid, refine; and classify."""

    def __init__(self, inputs: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        coarse = [_operations([ConvNormAct(c, HEAD_WIDTH, has_act=False)]) for c in inputs[:-1]]
        fine = ConvNormAct(inputs[-1], HEAD_WIDTH, has_act=False)
        self.input_ops = nn.ModuleList([*coarse, fine])
        self.middle = _operations([Branch(InvertedBottleneck(HEAD_WIDTH, HEAD_WIDTH))])
        wide = HEAD_EXPANSION * HEAD_WIDTH
        classify = ConvNormAct(wide, num_classes, has_norm=False, has_act=False, has_bias=True)
        self.output_ops = nn.ModuleList([_operations([ConvNormAct(HEAD_WIDTH, wide), classify])])

    def _layers(self) -> tuple[nn.Module, nn.Module]:
        """Return the last two, of which the second classifies; folded ones, too."""
        (operations,) = self.output_ops
        widen, classify = operations.get_submodule('op_list').children()
        return widen, classify

    def forward(self, maps: list[Tensor]) -> Tensor:
        size = maps[-1].shape[-2:]
        merged = self.input_ops[-1](maps[-1])
        for operation, one in zip(self.input_ops[:-1], maps[:-1], strict=True):
            projected = operation(one)
            merged = merged + interpolate(projected, size, mode='bicubic', align_corners=False)
        widen, _ = self._layers()
        features: Tensor = widen(self.middle(merged))
        return features

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits of what `forward` gives."""
        _, classify = self._layers()
        logits: Tensor = classify(features)
        return logits


def _attention_block(channels: int) -> nn.Sequential:
    bottleneck = InvertedBottleneck(channels, channels, has_few_norms=True)
    return nn.Sequential(
        OrderedDict(
            context_module=Branch(LinearAttention(channels)), local_module=Branch(bottleneck)
        )
    )


def _operations(layers: Iterable[nn.Module]) -> nn.Sequential:
    return nn.Sequential(OrderedDict(op_list=nn.Sequential(*layers)))
