"""Standardized max logit: Jung et al., ICCV 2021."""

from collections.abc import Mapping
from typing import Any

import cv2
from meta_ood_ros.core.scorers.logit_scorer import LogitScorer
from meta_ood_ros.core.scorers.scorer import state_array
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

#: Section 3.3 of the paper: a boundary 8 px wide becomes thinner by 2 px, one on either side, four
#: times; a Gaussian of 7 x 7 with sigma 1 smooths every sixth pixel.
PUBLISHED_BOUNDARY = 8
_KERNEL, _SIGMA, _DILATION = 7, 1.0, 6


class StandardizedMaxLogitScorer(LogitScorer):
    """
    Max logit, standardized by the mean and deviation of the class that it predicts.

    score = -(max z - mean[c]) / std[c], equation 3 of the paper, with the sign turned: higher is
    more OoD.

    Parameters
    ----------
    mean, std : ndarray of shape (C,), float
        Of the max logit of in-distribution pixels, by predicted class; std above 0.
    align_corners : bool
        How the logits are upsampled, as the network says.
    boundary : int
        Width of the boundaries of classes, half on either side, that get the scores beside them
        [px]; 0 leaves them, the published one is 8.
    smooths : bool
        Whether the dilated Gaussian of the paper follows.

    """

    name = 'standardized_max_logit'

    def __init__(
        self,
        mean: NDArray[np.floating],
        std: NDArray[np.floating],
        *,
        align_corners: bool = False,
        boundary: int = 0,
        smooths: bool = False,
    ) -> None:
        super().__init__(align_corners=align_corners)
        self.mean, self.std = (np.asarray(one, dtype=np.float32) for one in (mean, std))
        if self.mean.ndim != 1 or self.mean.shape != self.std.shape or not (self.std > 0).all():
            raise ValueError(
                'standardized_max_logit needs a mean and a std above 0 for each class, got shapes '
                f'{self.mean.shape} and {self.std.shape}. Fit it for this network.'
            )
        if boundary < 0:
            raise ValueError(
                f'boundary must be at least 0 px, got {boundary}. '
                f'{PUBLISHED_BOUNDARY} is the published one.'
            )
        self.boundary, self.smooths = boundary, smooths

    def of_logits(self, logits: Tensor) -> Tensor:
        """Return the standardized score of each pixel, unbounded."""
        if logits.shape[0] != len(self.mean):
            raise ValueError(
                f'standardized_max_logit was fitted for {len(self.mean)} classes, got '
                f'{logits.shape[0]}. Fit it for this network.'
            )
        best, predicted = logits.max(0)
        mean, std = (torch.from_numpy(one).to(best.device) for one in (self.mean, self.std))
        return (mean[predicted] - best) / std[predicted]

    def score(
        self, image: NDArray[np.uint8], logits: Tensor, features: Tensor | None = None
    ) -> NDArray[np.float32]:
        """Return how OoD each pixel is, see `Scorer.score`."""
        scores = super().score(image, logits, features)
        if self.boundary:
            semantic = _Classes(align_corners=self.align_corners).score(image, logits)
            scores = suppress_boundaries(scores, semantic, width=self.boundary)
        if self.smooths:
            scores = smooth_dilated(scores)
        return scores

    def state(self) -> dict[str, np.ndarray]:
        """Return mean and std by class, and what follows them."""
        after = np.array([self.boundary, self.smooths], dtype=np.int64)
        return {'mean': self.mean, 'std': self.std, 'after': after}

    @classmethod
    def from_state(
        cls, state: Mapping[str, np.ndarray], **options: Any
    ) -> 'StandardizedMaxLogitScorer':
        """Return the scorer with mean and std by class."""
        mean, std = (state_array(cls.name, state, key) for key in ('mean', 'std'))
        boundary, smooths = (int(one) for one in state.get('after', np.zeros(2)))
        return cls(mean, std, boundary=boundary, smooths=bool(smooths), **options)


class _Classes(LogitScorer):
    """The predicted class, upsampled as the scores are."""

    name = 'class'

    def of_logits(self, logits: Tensor) -> Tensor:
        """Return the class of each pixel."""
        return logits.argmax(0).float()


def suppress_boundaries(
    scores: NDArray[np.float32], semantic: NDArray[np.float32], *, width: int
) -> NDArray[np.float32]:
    """
    Return the scores with those on boundaries of classes replaced from outside inwards.

    Section 3.3 of the paper: the boundary is taken ever thinner, and each time its pixels get the
    mean of the 3 x 3 pixels around them that are no boundary.

    Parameters
    ----------
    scores : ndarray of shape (H, W), float32
        Any scores.
    semantic : ndarray of shape (H, W), float32
        Predicted classes.
    width : int
        Of the first boundary, half of it on either side [px].

    Returns
    -------
    ndarray of shape (H, W), float32

    """
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    edge = (cv2.dilate(semantic, cross) != cv2.erode(semantic, cross)).astype(np.uint8)
    for radius in range(width // 2, 0, -1):
        boundary = cv2.dilate(edge, cross, iterations=radius - 1) > 0
        outside = (~boundary).astype(np.float32)
        total = cv2.boxFilter(scores * outside, -1, (3, 3), normalize=False)
        count = cv2.boxFilter(outside, -1, (3, 3), normalize=False)
        reached = boundary & (count > 0)
        scores = np.where(reached, total / np.maximum(count, 1.0), scores).astype(np.float32)
    return scores


def smooth_dilated(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Return the scores smoothed by the paper's dilated Gaussian, the border repeated.

    Parameters
    ----------
    scores : ndarray of shape (H, W), float32
        Any scores.

    Returns
    -------
    ndarray of shape (H, W), float32

    """
    taps = np.zeros((_KERNEL - 1) * _DILATION + 1, dtype=np.float32)
    taps[::_DILATION] = cv2.getGaussianKernel(_KERNEL, _SIGMA, cv2.CV_32F).ravel()
    smoothed = cv2.sepFilter2D(scores, -1, taps, taps, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(smoothed, dtype=np.float32)
