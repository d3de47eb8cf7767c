"""Labelled frames -> a uniform sample of their embeddings, each with the classes of its patch."""

from dataclasses import dataclass, field

from meta_ood_training.datasets.sample import IN_DISTRIBUTION, OOD
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d


@dataclass(frozen=True, eq=False)
class Patches:
    """
    What the labels say about the patch of every embedding, on the grid of the features.

    Attributes
    ----------
    usable : ndarray of shape (N,), bool
        Something in the patch is labelled, and nothing in it is OoD.
    majority : ndarray of shape (N,), int16
        The class with most pixels, -1 where no class is labelled.
    classes : ndarray of shape (N, C), bool
        Every class that occurs in the patch (Blum et al., section 4.1).

    """

    usable: NDArray[np.bool_]
    majority: NDArray[np.int16]
    classes: NDArray[np.bool_]


def label_patches(targets: NDArray[np.uint8], grid: tuple[int, int], num_classes: int) -> Patches:
    """Return what a label map (H, W) says about the patches of a grid (h, w), in raster order."""
    height, width = grid
    classes = np.zeros((num_classes, height * width), dtype=bool)
    most, majority = np.zeros(height * width), np.full(height * width, -1, dtype=np.int16)
    for one in np.unique(targets[targets < num_classes]).tolist():
        share = _pooled(targets == one, grid, mean=True)
        classes[one] = _pooled(targets == one, grid) > 0
        wins = share > most
        majority[wins], most[wins] = one, share[wins]
    known = classes.any(axis=0) | (_pooled(targets == IN_DISTRIBUTION, grid) > 0)
    return Patches(known & (_pooled(targets == OOD, grid) == 0), majority, classes.T)


def _pooled(
    mask: NDArray[np.bool_], grid: tuple[int, int], *, mean: bool = False
) -> NDArray[np.float32]:
    plane = torch.from_numpy(mask.astype(np.float32))[None]
    if mean:
        return torch.nn.functional.adaptive_avg_pool2d(plane, grid).flatten().numpy()
    return adaptive_max_pool2d(plane, grid).flatten().numpy()


@dataclass(eq=False)
class EmbeddingSample:
    """
    A uniform sample without replacement of all embeddings that it was shown.

    Every embedding draws a random number, and the `size` smallest stay: the memory is that of
    the sample, however many frames come, and the order of the frames does not matter to its law.

    """

    size: int
    num_classes: int
    seed: int = 0
    seen: int = 0
    _keys: NDArray[np.float64] = field(init=False)
    _values: NDArray[np.float32] | None = field(init=False, default=None)
    _classes: NDArray[np.bool_] = field(init=False)
    _random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f'a sample must keep at least 1 embedding, got {self.size}.')
        self._keys = np.zeros(0)
        self._classes = np.zeros((0, self.num_classes), dtype=bool)
        self._random = np.random.default_rng(self.seed)

    def update(self, features: Tensor, targets: NDArray[np.uint8]) -> None:
        """Show the embeddings (D, h, w) of a frame with its labels (H, W)."""
        dimensions, height, width = features.shape
        patches = label_patches(targets, (height, width), self.num_classes)
        if self._values is None:
            self._values = np.zeros((0, dimensions), dtype=np.float32)
        keys = self._random.random(height * width)
        self.seen += int(patches.usable.sum())
        bound = self._keys.max() if len(self._keys) == self.size else np.inf
        taken = np.flatnonzero(patches.usable & (keys < bound))
        columns = features.detach().cpu().float().flatten(1)[:, torch.from_numpy(taken)]
        self._keys = np.concatenate([self._keys, keys[taken]])
        self._values = np.concatenate([self._values, columns.T.numpy()])
        self._classes = np.concatenate([self._classes, patches.classes[taken]])
        if len(self._keys) > self.size:
            kept = np.argpartition(self._keys, self.size - 1)[: self.size]
            self._keys = self._keys[kept]
            self._values, self._classes = self._values[kept], self._classes[kept]

    def take(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return embeddings (N, D) and the classes of their patches (N, C), in random order."""
        if self._values is None or not len(self._values):
            raise ValueError(
                'fitting a density needs labelled in-distribution pixels, got none. '
                'Check the label mapping of --data.'
            )
        order = np.argsort(self._keys)
        return self._values[order], self._classes[order]
