"""
Density of the nearest training embeddings: Blum et al. 2021, equations 4 and 5.

After Papernot and McDaniel 2018, Mandelbaum and Weinshall 2017. The paper prints exp(-cos), which
grows for neighbours that are not alike; a density is the sum over the k nearest of exp(+cos), and
its share in the predicted class. Scores are minus that.
"""

from dataclasses import dataclass, field
from functools import cached_property

from meta_ood_training.methods.density.neighbours import build_neighbours, Neighbours
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

DENSITY_NEIGHBOURS, CLASS_NEIGHBOURS = 20, 100
"""k of the density and of the relative class density (tables 6 and 7)."""


@dataclass(eq=False)
class EmbeddingDensity:
    """
    Training embeddings whose neighbourhood tells how usual another embedding is.

    Attributes
    ----------
    values : ndarray of shape (N, D), float32
    classes : ndarray of shape (N, C), bool
        The classes in the patch of each.
    kind : str
        Of the index, see `build_neighbours`.

    """

    values: NDArray[np.float32]
    classes: NDArray[np.bool_]
    kind: str = 'auto'
    chunk: int = field(default=1 << 14)

    @cached_property
    def neighbours(self) -> Neighbours:
        """The index; built at the first question."""
        return build_neighbours(self.values, self.kind)

    def density(self, features: Tensor, k: int = DENSITY_NEIGHBOURS) -> Tensor:
        """Return (h, w): sum of exp(cos) over the k nearest of each embedding (D, h, w)."""
        queries, size = self._to_queries(features)
        found = [
            np.exp(self.neighbours.search(block, k)[0]).sum(axis=1) for block in self._cut(queries)
        ]
        return torch.from_numpy(np.concatenate(found)).view(size)

    def class_density(
        self, features: Tensor, predicted: Tensor, k: int = CLASS_NEIGHBOURS
    ) -> Tensor:
        """Return (h, w), in [0, 1]: the share of the predicted class (h, w) in that sum."""
        queries, size = self._to_queries(features)
        labels = predicted.detach().cpu().flatten().numpy()
        found = []
        for block, own in zip(self._cut(queries), self._cut(labels), strict=True):
            cosines, indices = self.neighbours.search(block, k)
            weights = np.exp(cosines)
            same = self.classes[indices, own[:, None]]
            found.append((weights * same).sum(axis=1) / weights.sum(axis=1))
        return torch.from_numpy(np.concatenate(found)).view(size)

    def _cut(self, rows: NDArray) -> list[NDArray]:
        return [rows[start : start + self.chunk] for start in range(0, len(rows), self.chunk)]

    def _to_queries(self, features: Tensor) -> tuple[NDArray[np.float32], tuple[int, int]]:
        dimensions, height, width = features.shape
        if dimensions != self.values.shape[1]:
            raise ValueError(
                f'features must have the {self.values.shape[1]} dimensions that were fitted, got '
                f'{dimensions}. Fit the method with this bundle.'
            )
        return features.detach().cpu().float().flatten(1).T.numpy(), (height, width)
