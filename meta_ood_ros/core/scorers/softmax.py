"""The four scores of the softmax: entropy, MSP, margin, variation ratio."""

from meta_ood_ros.core.dense import predict_dense
from meta_ood_ros.core.scorers.logit_scorer import LogitScorer
from meta_ood_ros.core.uncertainty import normalized_entropy
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor


class EntropyScorer(LogitScorer):
    """
    Softmax entropy divided by log C: equation 5 of Chan et al., ICCV 2021.

    Parameters
    ----------
    align_corners : bool
        How the logits are upsampled, as the network says.

    """

    name = 'entropy'

    def of_logits(self, logits: Tensor) -> Tensor:
        """Return -sum p log p / log C, in [0, 1]."""
        return normalized_entropy(logits)

    def score(
        self, image: NDArray[np.uint8], logits: Tensor, features: Tensor | None = None
    ) -> NDArray[np.float32]:
        """Return how OoD each pixel is, by the fused path of `predict_dense`."""
        size = (image.shape[0], image.shape[1])
        return predict_dense(logits, size, align_corners=self.align_corners).entropy


class MaxSoftmaxScorer(LogitScorer):
    """
    Maximum softmax probability p1 as -log p1: Hendrycks and Gimpel, ICLR 2017.

    The order of pixels is that of 1 - p1; the logarithm keeps apart what rounds to p1 = 1.

    Parameters
    ----------
    align_corners : bool
        How the logits are upsampled, as the network says.

    """

    name = 'msp'

    def of_logits(self, logits: Tensor) -> Tensor:
        """Return -log p1 in [0, log C], from which log p1 = -log sum exp(z - z1)."""
        return torch.log1p(_others(logits))


class MarginScorer(LogitScorer):
    """
    Probability margin 1 - p1 + p2: section 3 of Chan et al., ICCV 2021 (metric D).

    Parameters
    ----------
    align_corners : bool
        How the logits are upsampled, as the network says.

    """

    name = 'margin'

    def of_logits(self, logits: Tensor) -> Tensor:
        """Return 1 - p1 + p2, in [0, 1]."""
        best = logits.topk(2, dim=0).values
        total = torch.logsumexp(logits, 0)
        return 1.0 - (best[0] - total).exp() + (best[1] - total).exp()


class VariationRatioScorer(LogitScorer):
    """
    Variation ratio 1 - p1: section 3 of Chan et al., ICCV 2021 (metric V).

    Parameters
    ----------
    align_corners : bool
        How the logits are upsampled, as the network says.

    """

    name = 'variation_ratio'

    def of_logits(self, logits: Tensor) -> Tensor:
        """Return 1 - p1, in [0, 1 - 1/C]."""
        others = _others(logits)
        return others / (1.0 + others)


def _others(logits: Tensor) -> Tensor:
    """Return sum exp(z - z1) without the best class itself, whose 1 would round them away."""
    best, place = logits.max(dim=0, keepdim=True)
    return (logits - best).exp().scatter(0, place, 0.0).sum(0)
