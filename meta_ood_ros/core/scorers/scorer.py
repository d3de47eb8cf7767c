"""What every OoD score of pixels offers, whatever it is computed from."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class Scorer(ABC):
    """
    Image, logits and features -> (H, W) scores, higher = more OoD.

    Attributes
    ----------
    name : str
        As in tables and settings: 'entropy', 'max_logit'.
    uses_features : bool
        Whether `score` needs the features.

    """

    name: ClassVar[str]
    uses_features: ClassVar[bool] = False

    @abstractmethod
    def score(
        self, image: NDArray[np.uint8], logits: Tensor, features: Tensor | None = None
    ) -> NDArray[np.float32]:
        """
        Return how OoD each pixel is.

        Parameters
        ----------
        image : ndarray of shape (H, W, 3), uint8
            RGB, on the work grid.
        logits : Tensor of shape (C, h, w), float32
            On the grid of the network's output, on any device.
        features : Tensor of shape (D, h, w), float32, optional
            The input of the network's last layer, see `OodNetwork.with_features`.

        Returns
        -------
        ndarray of shape (H, W), float32
            Finite, higher = more OoD; a unit of its own.

        Raises
        ------
        ValueError
            The shapes do not fit, features are needed and absent, or a score is not finite.

        """

    def state(self) -> dict[str, np.ndarray]:
        """
        Return what was fitted, as arrays that are kept without pickle.

        Returns
        -------
        dict of str to ndarray
            Empty where nothing is fitted.

        """
        return {}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray], **options: Any) -> 'Scorer':
        """
        Return the scorer with what was fitted.

        Parameters
        ----------
        state : mapping of str to ndarray
            As `state` gave it.
        **options
            What the scorer is constructed with besides, such as `align_corners`.

        Returns
        -------
        Scorer

        """
        if state:
            raise ValueError(
                f'{cls.name} must have no fitted state, got {", ".join(sorted(state))}. '
                'It belongs to another score.'
            )
        return cls(**options)

    def checked(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """
        Return the scores, or refuse what is not finite.

        Parameters
        ----------
        scores : ndarray of shape (H, W), float32
            Of one image.

        Returns
        -------
        ndarray of shape (H, W), float32
            The same.

        """
        if not np.isfinite(scores).all():
            raise ValueError(
                f'{self.name} must be finite, got NaN or infinity at '
                f'{np.count_nonzero(~np.isfinite(scores))} of {scores.size} pixels. '
                'Check the network: damaged weights, or an overflow in half precision.'
            )
        return scores

    def needed(self, features: Tensor | None) -> Tensor:
        """
        Return the features, or say that they are needed.

        Parameters
        ----------
        features : Tensor of shape (D, h, w), float32, or None
            As `score` got them.

        Returns
        -------
        Tensor of shape (D, h, w), float32

        """
        if features is None:
            raise ValueError(
                f'{self.name} needs the features of the network, got none. '
                'Run the network by with_features.'
            )
        return features


def state_array(name: str, state: Mapping[str, np.ndarray], key: str) -> np.ndarray:
    """
    Return one array of what was fitted, or say that it is not there.

    Parameters
    ----------
    name : str
        Of the score.
    state : mapping of str to ndarray
        As kept.
    key : str
        Which array.

    Returns
    -------
    ndarray
        Finite.

    """
    if key not in state or not np.isfinite(state[key]).all():
        found = 'values that are not finite' if key in state else ', '.join(state) or 'nothing'
        raise ValueError(
            f'{name} needs its fitted array {key}, got {found}. Fit it for this network.'
        )
    return state[key]
