"""Scores that are a function of the upsampled logits of one pixel."""

from abc import abstractmethod

from meta_ood_ros.core.dense import check_logits
from meta_ood_ros.core.kernels.host_copy import to_host
from meta_ood_ros.core.kernels.strips import upsampled_strips
from meta_ood_ros.core.scorers.scorer import Scorer
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor


class LogitScorer(Scorer):
    """
    A score of each pixel's logits alone, computed where the logits are.

    Parameters
    ----------
    align_corners : bool
        How the logits are upsampled, as the network says.

    """

    def __init__(self, *, align_corners: bool = False) -> None:
        self.align_corners = align_corners

    @abstractmethod
    def of_logits(self, logits: Tensor) -> Tensor:
        """
        Return the scores of pixels.

        Parameters
        ----------
        logits : Tensor of shape (C, ...), float32
            Upsampled already.

        Returns
        -------
        Tensor of shape (...), float32

        """

    def score(
        self, image: NDArray[np.uint8], logits: Tensor, features: Tensor | None = None
    ) -> NDArray[np.float32]:
        """Return how OoD each pixel is, see `Scorer.score`; the image gives the size only."""
        tensor, size = check_logits(logits, image.shape[:2])
        scores = torch.empty(size, dtype=torch.float32, device=tensor.device)
        with torch.inference_mode():
            for rows, values in upsampled_strips(tensor, size, align_corners=self.align_corners):
                scores[rows] = self.of_logits(values)
        return self.checked(to_host([scores])[0].numpy())
