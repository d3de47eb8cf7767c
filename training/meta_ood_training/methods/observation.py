"""One labelled frame as a network sees it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Observation:
    """
    What a method is fitted on, and what a scorer gets.

    Attributes
    ----------
    image : ndarray of shape (H, W, 3), uint8
        RGB, on the work grid.
    logits : Tensor of shape (C, h, w), float32
        On the grid of the network's output, on its device.
    features : Tensor of shape (D, h, w), float32, or None
        The input of the network's last layer; None where nobody asked.
    targets : ndarray of shape (H, W), uint8
        Class ids on the work grid, with IN_DISTRIBUTION, OOD and IGNORED as in `datasets`.
    name, group : str
        Of the sample.

    """

    image: NDArray[np.uint8]
    logits: Tensor
    features: Tensor | None
    targets: NDArray[np.uint8]
    name: str = ''
    group: str = ''

    def targets_on_output_grid(self) -> NDArray[np.uint8]:
        """
        Return the targets at the centres of the cells of the network's output.

        Returns
        -------
        ndarray of shape (h, w), uint8

        """
        rows, columns = (
            np.minimum((np.arange(count) + 0.5) * side / count, side - 1).astype(np.intp)
            for count, side in zip(self.logits.shape[1:], self.targets.shape, strict=True)
        )
        return self.targets[rows[:, None], columns]
