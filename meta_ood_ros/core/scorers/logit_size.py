"""The two scores of the logits' size: max_logit, energy."""

from collections.abc import Mapping
from typing import Any

from meta_ood_ros.core.scorers.logit_scorer import LogitScorer
import numpy as np
import torch
from torch import Tensor


class MaxLogitScorer(LogitScorer):
    """
    Negative maximum logit: Hendrycks et al., ICML 2022.

    Parameters
    ----------
    align_corners : bool
        How the logits are upsampled, as the network says.

    """

    name = 'max_logit'

    def of_logits(self, logits: Tensor) -> Tensor:
        """Return -max z, unbounded."""
        return -logits.amax(0)


class EnergyScorer(LogitScorer):
    """
    Free energy -T log sum exp(z / T): equation 4 of Liu et al., NeurIPS 2020.

    Parameters
    ----------
    align_corners : bool
        How the logits are upsampled, as the network says.
    temperature : float
        T, above 0; towards 0 it is max_logit.

    """

    name = 'energy'

    def __init__(self, *, align_corners: bool = False, temperature: float = 1.0) -> None:
        super().__init__(align_corners=align_corners)
        if not 0.0 < temperature < np.inf:
            raise ValueError(
                f'temperature must be above 0 and finite, got {temperature}. 1 is the published.'
            )
        self.temperature = temperature

    def of_logits(self, logits: Tensor) -> Tensor:
        """Return the energy, unbounded."""
        return -self.temperature * torch.logsumexp(logits / self.temperature, 0)

    def state(self) -> dict[str, np.ndarray]:
        """Return the temperature."""
        return {'temperature': np.array([self.temperature])}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray], **options: Any) -> 'EnergyScorer':
        """Return the scorer with its temperature; 1 where the state says nothing."""
        temperature = float(np.ravel(state.get('temperature', 1.0))[0])
        return cls(temperature=temperature, **options)
