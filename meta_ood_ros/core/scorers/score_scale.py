"""A score of any unit -> [0, 1], so that one threshold serves all."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ScoreScale:
    """
    The share of in-distribution pixels whose score is lower: a monotone map to [0, 1].

    A threshold t on the mapped score is exceeded by a share 1 - t of the in-distribution pixels
    that it was fitted on: it is one minus their false positive rate.

    Attributes
    ----------
    values : ndarray of shape (K,), float32
        Scores, ascending, K >= 2.
    shares : ndarray of shape (K,), float32
        From 0 to 1, ascending; between two values it is linear, outside it is 0 and 1.

    """

    values: NDArray[np.float32]
    shares: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Refuse what is no monotone map to [0, 1]."""
        fits = self.values.ndim == 1 and self.values.shape == self.shares.shape
        fits = fits and len(self.values) >= 2
        fits = fits and bool(np.isfinite(self.values).all() and np.isfinite(self.shares).all())
        fits = fits and bool(
            (np.diff(self.values) > 0).all() and (np.diff(self.shares) >= 0).all()
        )
        if not fits or self.shares[0] < 0.0 or self.shares[-1] > 1.0:
            raise ValueError(
                'scale of a score must have two or more ascending values with ascending shares in '
                f'[0, 1], got {self.values.shape} and {self.shares.shape}. Fit it again: '
                'meta-ood-train fit-score'
            )

    def __call__(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """
        Return the mapped scores.

        Parameters
        ----------
        scores : ndarray of float32
            Any shape.

        Returns
        -------
        ndarray of the same shape, float32 in [0, 1]

        """
        return np.interp(scores, self.values, self.shares).astype(np.float32)
