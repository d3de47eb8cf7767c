"""Virtual-logit matching (ViM): Wang et al., CVPR 2022."""

from collections.abc import Mapping
from typing import Any

from meta_ood_ros.core.kernels.host_copy import to_host
from meta_ood_ros.core.kernels.strips import upsampled_strips
from meta_ood_ros.core.scorers.logit_size import EnergyScorer
from meta_ood_ros.core.scorers.scorer import Scorer, state_array
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor


class VimScorer(Scorer):
    """
    Norm of the features outside their principal space, plus the energy of the logits.

    score = alpha |R (f - origin)| - log sum exp(z): equation 6 of the paper in log space. The
    norm is taken on the grid of the features and upsampled; the energy is that of the upsampled
    logits.

    Parameters
    ----------
    origin : ndarray of shape (D,), float
        The features for which all logits of the last layer are 0.
    residual : ndarray of shape (R, D), float
        Orthonormal rows that span what lies outside the principal space.
    alpha : float
        Scale that gives the norm the size of a max logit.
    align_corners : bool
        How the logits are upsampled, as the network says.

    """

    name = 'vim'
    uses_features = True

    def __init__(
        self,
        origin: NDArray[np.floating],
        residual: NDArray[np.floating],
        alpha: float,
        *,
        align_corners: bool = False,
    ) -> None:
        self.origin, self.residual = (np.asarray(one, np.float32) for one in (origin, residual))
        if self.residual.ndim != 2 or self.origin.shape != self.residual.shape[1:]:
            raise ValueError(
                'vim needs an origin of shape (D,) and residual directions of shape (R, D), got '
                f'{self.origin.shape} and {self.residual.shape}. Fit it for this network.'
            )
        self.alpha = float(alpha)
        self.align_corners = align_corners
        self._energy = EnergyScorer(align_corners=align_corners)

    def residual_norm(self, features: Tensor) -> Tensor:
        """
        Return the norm of each pixel's features outside the principal space.

        Parameters
        ----------
        features : Tensor of shape (D, h, w), float32
            The input of the network's last layer.

        Returns
        -------
        Tensor of shape (h, w), float32

        """
        if features.shape[0] != len(self.origin):
            raise ValueError(
                f'vim was fitted for {len(self.origin)} features, got {features.shape[0]}. '
                'Fit it for this network.'
            )
        origin, residual = (
            torch.from_numpy(one).to(features.device) for one in (self.origin, self.residual)
        )
        flat = features.flatten(1) - origin[:, None]
        return torch.linalg.vector_norm(residual @ flat, dim=0).view(features.shape[1:])

    def score(
        self, image: NDArray[np.uint8], logits: Tensor, features: Tensor | None = None
    ) -> NDArray[np.float32]:
        """Return how OoD each pixel is, see `Scorer.score`; it needs the features."""
        size = (image.shape[0], image.shape[1])
        energy = self._energy.score(image, logits)
        with torch.inference_mode():
            norm = self.residual_norm(self.needed(features).float())
            upsampled = torch.empty(size, dtype=torch.float32, device=norm.device)
            for rows, values in upsampled_strips(
                norm[None], size, align_corners=self.align_corners
            ):
                upsampled[rows] = values[0]
        norms: NDArray[np.float32] = to_host([upsampled])[0].numpy()
        return self.checked(np.float32(self.alpha) * norms + energy)

    def state(self) -> dict[str, np.ndarray]:
        """Return origin, residual directions and alpha."""
        alpha = np.array([self.alpha])
        return {'origin': self.origin, 'residual': self.residual, 'alpha': alpha}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray], **options: Any) -> 'VimScorer':
        """Return the scorer with what was fitted."""
        origin, residual, alpha = (
            state_array(cls.name, state, key) for key in ('origin', 'residual', 'alpha')
        )
        return cls(origin, residual, float(alpha.ravel()[0]), **options)
