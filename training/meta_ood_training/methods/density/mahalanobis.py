"""
Mahalanobis distance to the nearest class: Lee, Lee, Lee, Shin, NeurIPS 2018, equations 1 and 2.

Class means and one tied covariance of the features; the score of a pixel is
min_c (f - mu_c)^T S^-1 (f - mu_c), the confidence of the paper with its sign turned.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

#: Directions with less of the largest variance than this carry rounding, not features: a channel
#: that a ReLU keeps at 0 has none, and its inverse is none either.
SMALLEST_VARIANCE = 1e-6


@dataclass(frozen=True, eq=False)
class TiedGaussians:
    """
    One Gaussian a class, all with the same covariance.

    Attributes
    ----------
    means : Tensor of shape (K, D), float64
        Of the K classes that were seen.
    whitening : Tensor of shape (R, D), float64
        W with W^T W = S^-1 on the R directions that vary.

    """

    means: Tensor
    whitening: Tensor

    def nearest_distance(self, features: Tensor) -> Tensor:
        """Return (h, w): the squared distance of features (D, h, w) to the nearest class."""
        dimensions, height, width = features.shape
        if dimensions != self.means.shape[1]:
            raise ValueError(
                f'features must have the {self.means.shape[1]} dimensions that were fitted, got '
                f'{dimensions}. Fit the method with this bundle.'
            )
        whitening = self.whitening.to(features.device)
        white = whitening @ features.to(whitening.dtype).flatten(1)
        centres = whitening @ self.means.to(features.device).T
        best = torch.full((height * width,), torch.inf, dtype=white.dtype, device=white.device)
        for centre in centres.T:  # one class at a time: (K, R, h w) need not be held
            best = torch.minimum(best, (white - centre[:, None]).square().sum(0))
        return best.view(height, width)


@dataclass(eq=False)
class GaussianSums:
    """Counts, sums and second moments of labelled embeddings, added up frame by frame."""

    num_classes: int
    _pivot: NDArray[np.float64] | None = field(init=False, default=None)

    def update(self, features: Tensor, classes: NDArray[np.int16]) -> None:
        """Add the embeddings (D, h, w) of a frame; a class -1 (h w,) leaves one out."""
        values = features.detach().cpu().double().flatten(1).numpy()[:, classes >= 0].T
        labels = classes[classes >= 0].astype(np.int64)
        if not len(labels):
            return
        if self._pivot is None:
            # Sums around a value near the mean: squares of a large mean would eat the variance.
            self._pivot = values.mean(axis=0)
            self.counts = np.zeros(self.num_classes, dtype=np.int64)
            self.sums = np.zeros((self.num_classes, values.shape[1]))
            self.moment = np.zeros((values.shape[1], values.shape[1]))
        values -= self._pivot
        self.counts += np.bincount(labels, minlength=self.num_classes)
        for one in np.unique(labels).tolist():
            self.sums[one] += values[labels == one].sum(axis=0)
        self.moment += values.T @ values

    def fit(self) -> TiedGaussians:
        """Return means and tied covariance; it fails without two pixels of one class."""
        if self._pivot is None or self.counts.max() < 2:
            raise ValueError(
                'the Mahalanobis distance needs labelled pixels of at least one class, got none. '
                'Check the label mapping of --data.'
            )
        seen = self.counts > 0
        means = self.sums[seen] / self.counts[seen, None]
        between = (means * self.counts[seen, None]).T @ means
        covariance = (self.moment - between) / self.counts.sum()
        variances, directions = np.linalg.eigh((covariance + covariance.T) / 2)
        kept = variances > SMALLEST_VARIANCE * max(variances.max(), 0.0)
        if not kept.any():
            raise ValueError(
                'the features of a class must vary, got the same value everywhere. '
                'Fit on more frames.'
            )
        whitening = (directions[:, kept] / np.sqrt(variances[kept])).T
        return TiedGaussians(
            torch.from_numpy(means + self._pivot),
            torch.from_numpy(np.ascontiguousarray(whitening)),
        )
