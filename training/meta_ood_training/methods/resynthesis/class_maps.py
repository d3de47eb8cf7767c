"""Logits -> class map and softmax uncertainty on the grid of the resynthesis."""

from typing import NamedTuple

from meta_ood_ros.core.uncertainty import normalized_entropy, probability_margin
import torch
from torch import Tensor
from torch.nn.functional import interpolate, one_hot


class ClassMaps(NamedTuple):
    """
    What a network says about each pixel of the grid.

    Attributes
    ----------
    semantics : Tensor of shape (h, w), int64
        Class ids.
    entropy : Tensor of shape (h, w), float32
        Normalized, in [0, 1].
    distance : Tensor of shape (h, w), float32
        Softmax distance, 1 - p1 + p2, in [0, 1].

    """

    semantics: Tensor
    entropy: Tensor
    distance: Tensor


def class_maps(logits: Tensor, size: tuple[int, int], *, align_corners: bool) -> ClassMaps:
    """Return the maps of the logits (C, h0, w0) of one image at a size (h, w)."""
    scaled = interpolate(
        logits.float().unsqueeze(0), size, mode='bilinear', align_corners=align_corners
    )[0]
    distance = probability_margin(torch.softmax(scaled, 0))
    return ClassMaps(scaled.argmax(0), normalized_entropy(scaled), distance)


def class_shares(semantics: Tensor, num_classes: int) -> Tensor:
    """Return a class map (h, w) as the generator takes it, (1, C, h, w) of 0 and 1."""
    return one_hot(semantics.long(), num_classes).permute(2, 0, 1).unsqueeze(0).float()


def resynthesis_grid(work_grid: tuple[int, int], scale: float, stride: int) -> tuple[int, int]:
    """Return the grid of the resynthesis: `scale` of the work grid, in strides of the network."""
    height, width = (max(1, round(side * scale / stride)) * stride for side in work_grid)
    return height, width
