"""Image, resynthesis and class map -> where they contradict each other."""

from collections.abc import Sequence

import torch
from torch import nn, Tensor
from torch.nn.functional import adaptive_avg_pool2d, cosine_similarity, interpolate, leaky_relu

#: Entropy, softmax distance and perceptual difference.
UNCERTAINTY_MAPS = 3


class DiscrepancyNetwork(nn.Module):
    """
    Finds where an image is not what its class map says.

    Parameters
    ----------
    channels : sequence of int
        Of the features of each level, fine to coarse, see `FeatureLevels`.
    num_classes : int
        C.
    width : int
        Channels of each level inside.
    with_uncertainty : bool
        Takes the maps of Di Biase et al. (CVPR 2021), whose embedding multiplies each level; the
        network of Lis et al. (ICCV 2019) has none.

    Notes
    -----
    As in Lis et al. each level joins the features of the image and of its resynthesis, both
    through one 1x1 convolution, their correlation, and an embedding of the class map; then from
    coarse to fine each level joins the one below it. Beside them stands the absolute difference
    of both, which so small a network is slow to find by itself.

    """

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        *,
        width: int = 32,
        with_uncertainty: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.with_uncertainty = with_uncertainty
        self.project = nn.ModuleList(nn.Conv2d(one, width, 1) for one in channels)
        self.embed = nn.ModuleList(nn.Conv2d(num_classes, width, 3, padding=1) for _ in channels)
        self.join = nn.ModuleList(
            nn.Sequential(nn.Conv2d(4 * width + 1, width, 1), nn.GroupNorm(4, width))
            for _ in channels
        )
        self.weigh = nn.ModuleList(
            nn.Conv2d(UNCERTAINTY_MAPS, width, 3, padding=1)
            for _ in (channels if with_uncertainty else ())
        )
        self.decode = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, width, 3, padding=1), nn.GroupNorm(4, width))
            for inputs in (*(2 * width for _ in channels[1:]), width)
        )
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(
        self,
        features: Sequence[Tensor],
        resynthesized: Sequence[Tensor],
        semantics: Tensor,
        uncertainty: Tensor | None = None,
    ) -> Tensor:
        """
        Return the logit of a discrepancy for each pixel.

        Parameters
        ----------
        features, resynthesized : sequence of Tensor of shape (N, c, h / stride, w / stride)
            Of the image and of its resynthesis.
        semantics : Tensor of shape (N, C, h, w), float32
            Share of each class in a pixel.
        uncertainty : Tensor of shape (N, 3, h, w), float32, optional
            Entropy, softmax distance and perceptual difference, each in [0, 1].

        Returns
        -------
        Tensor of shape (N, 1, h, w), float32

        """
        if (uncertainty is not None) != self.with_uncertainty:
            raise ValueError(
                f'uncertainty must be given to a network that was built with it, got '
                f'{"some" if uncertainty is not None else "none"}.'
            )
        x: Tensor | None = None
        for level in reversed(range(len(self.project))):
            one, other = features[level], resynthesized[level]
            size = (one.shape[-2], one.shape[-1])
            seen, made = self.project[level](one), self.project[level](other)
            joined = self.join[level](
                torch.cat(
                    [
                        seen,
                        made,
                        (seen - made).abs(),
                        self.embed[level](adaptive_avg_pool2d(semantics, size)),
                        cosine_similarity(one, other, dim=1).unsqueeze(1),
                    ],
                    dim=1,
                )
            )
            here = leaky_relu(joined, 0.2)
            if uncertainty is not None:
                weights = self.weigh[level](adaptive_avg_pool2d(uncertainty, size))
                here = here * (1 + weights)
            if x is not None:
                upsampled = interpolate(x, size, mode='bilinear', align_corners=False)
                here = torch.cat([here, upsampled], dim=1)
            x = leaky_relu(self.decode[level](here), 0.2)
        assert x is not None
        size = (semantics.shape[-2], semantics.shape[-1])
        return interpolate(self.last(x), size, mode='bilinear', align_corners=False)
