"""Logits with a chosen number of OoD segments and share of OoD pixels, known in advance."""

from dataclasses import dataclass
from itertools import pairwise
import math

from meta_ood_ros.core.dense import predict_dense
from meta_ood_ros.core.meta_classifier import MetaClassifier
from meta_ood_ros.core.meta_models.dense_layers import DenseLayers
from meta_ood_ros.core.segment_metrics import metric_names
from meta_ood_ros.core.segments import find_segments
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
import torch
from torch import Tensor

CLASSES = 19
THRESHOLD = 0.6


@dataclass(frozen=True)
class Scene:
    """
    Logits of one image in which so many segments and OoD pixels are at THRESHOLD.

    Attributes
    ----------
    logits : Tensor of shape (C, h, w), float32

    """

    logits: Tensor
    size: tuple[int, int]
    segments: int
    share: float

    def write_logits(self) -> None:
        """Write the logits anew, as a network leaves them: what the caches hold is theirs."""
        self.logits.copy_(self.logits.clone())


def make_scene(
    grid: tuple[int, int], size: tuple[int, int], *, segments: int, share: float, seed: int = 0
) -> Scene:
    """
    Return a street-like class map with round blobs of high entropy in it.

    Parameters
    ----------
    segments : int
        Wanted number of blobs, on a jittered lattice so that they do not touch.

    """
    rng = np.random.default_rng(seed)
    streets = _make_streets(grid, rng) + rng.normal(size=(CLASSES, *grid)) * 0.01
    distance = _measure_distances(grid, segments, rng)
    radius = math.sqrt(share * grid[0] * grid[1] / segments / math.pi)
    # interpolation moves the contour a little, which the radius makes good for
    for _ in range(8):
        inside = np.clip((radius - distance) / 2.0 + 0.5, 0.0, 1.0)
        logits = torch.from_numpy((streets * (1.0 - 0.98 * inside)).astype(np.float32))
        mask = predict_dense(logits, size).entropy >= THRESHOLD
        radius *= math.sqrt(share / max(float(mask.mean()), 0.2 * share))
    return Scene(logits, size, find_segments(mask).count, float(mask.mean()))


def make_classifier(*, seed: int = 0) -> MetaClassifier:
    """Return a D-75-75-75-1 network with random weights: the dearest of the kinds."""
    rng = np.random.default_rng(seed)
    names = metric_names(CLASSES)
    sides = (len(names), 75, 75, 75, 1)
    layers = tuple(
        (rng.normal(size=(out, into)) / math.sqrt(into), np.zeros(out))
        for into, out in pairwise(sides)
    )
    return MetaClassifier(
        kind='neural_network',
        model=DenseLayers(layers, np.zeros(len(names)), np.full(len(names), 100.0)),
        metric_names=names,
        entropy_threshold=THRESHOLD,
    )


def _make_streets(grid: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return logits (C, h, w) of a confident network: entropy 0, between classes up to 0.5."""
    height, width = grid
    y, x = np.mgrid[0:height, 0:width] / max(grid)
    waves = []
    for _ in range(CLASSES):
        frequency, phase = rng.normal(size=2) * 12, rng.uniform(0, 2 * np.pi)
        waves.append(np.sin(frequency[0] * y + frequency[1] * x + phase))
    best = np.stack(waves).argmax(0)
    return 24.0 * (best == np.arange(CLASSES)[:, None, None])


def _measure_distances(
    grid: tuple[int, int], segments: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the distance (h, w) to the next of as many centres, on a jittered lattice."""
    height, width = grid
    rows = max(1, round(math.sqrt(segments * height / width)))
    columns = -(-segments // rows)
    cell = np.array([height / rows, width / columns])
    places = np.stack(np.divmod(rng.permutation(rows * columns)[:segments], columns), 1)
    centres = (places + 0.5 + rng.uniform(-0.08, 0.08, places.shape)) * cell
    points = np.moveaxis(np.mgrid[0:height, 0:width], 0, -1)
    return cKDTree(centres).query(points)[0]
