"""An image beside its resynthesis, as the discrepancy networks see both."""

from dataclasses import dataclass

from meta_ood_ros.core.image import resize_image
from meta_ood_training.methods.resynthesis.class_maps import class_shares
from meta_ood_training.methods.resynthesis.feature_levels import (
    FeatureLevels,
    perceptual_difference,
)
from meta_ood_training.methods.resynthesis.generator import SpadeGenerator
import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Comparison:
    """
    One image, what the generator makes of a class map, and what a network sees in both.

    Attributes
    ----------
    shares : Tensor of shape (1, C, h, w)
        The class map.
    resynthesized : Tensor of shape (1, 3, h, w)
        RGB in (0, 1).
    features, others : list of Tensor
        Of the image and of its resynthesis, fine to coarse.
    perceptual : Tensor of shape (1, 1, h, w)
        Their difference, at least 0, in no unit: see `perceptual_difference`.

    """

    shares: Tensor
    resynthesized: Tensor
    features: list[Tensor]
    others: list[Tensor]
    perceptual: Tensor

    def uncertainty(self, entropy: Tensor, distance: Tensor, perceptual_scale: float) -> Tensor:
        """Return entropy, distance and perceptual difference, (1, 3, h, w) in [0, 1]."""
        perceptual = (self.perceptual[0, 0] / perceptual_scale).clamp(0, 1)
        return torch.stack([entropy, distance, perceptual]).unsqueeze(0)


def image_tensor(image: np.ndarray, size: tuple[int, int], device: torch.device) -> Tensor:
    """Return an image (H, W, 3) uint8 as (1, 3, h, w) float32 in [0, 1]."""
    resized = torch.from_numpy(np.ascontiguousarray(resize_image(image, size)))
    return resized.to(device).permute(2, 0, 1).unsqueeze(0).float() / 255


@torch.no_grad()
def compare(
    levels: FeatureLevels, generator: SpadeGenerator, image: Tensor, semantics: Tensor
) -> Comparison:
    """
    Resynthesize a class map and compare an image with it.

    Parameters
    ----------
    image : Tensor of shape (1, 3, h, w), float32
        RGB in [0, 1].
    semantics : Tensor of shape (h, w), integer
        Class ids.

    """
    shares = class_shares(semantics, generator.num_classes)
    resynthesized = generator(shares)
    features, others = levels(image), levels(resynthesized)
    size = (image.shape[-2], image.shape[-1])
    perceptual = perceptual_difference(features, others, size)
    return Comparison(shares, resynthesized, features, others, perceptual)
