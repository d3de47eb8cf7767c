"""Labelled street frames -> image, class map, void and uncertainty on the resynthesis' grid."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
from meta_ood_ros.core.image import resize_image
from meta_ood_training.datasets import IGNORED, OOD, SampleDataset
from meta_ood_training.methods.observer import Observer
from meta_ood_training.methods.resynthesis.class_maps import class_maps, resynthesis_grid
import numpy as np
import torch

#: Frames that are kept once predicted, about 1 MB each.
_KEPT = 400
#: Side of what a void region must hold to be one: labels leave a thin seam between classes.
_SEAM = 7


class Frame(NamedTuple):
    """
    One frame on the grid of the resynthesis.

    Attributes
    ----------
    image : ndarray of shape (h, w, 3), uint8
    semantics : ndarray of shape (h, w), uint8
        The label where it names a class, elsewhere what the network predicts.
    is_labelled, is_void : ndarray of shape (h, w), bool
        Where the label names a class; where it is void that stands for the unknown.
    entropy, distance : ndarray of shape (h, w), float32
        Of the network's softmax, in [0, 1].

    """

    image: np.ndarray
    semantics: np.ndarray
    is_labelled: np.ndarray
    is_void: np.ndarray
    entropy: np.ndarray
    distance: np.ndarray


class ResynthesisFrames:
    """
    The frames of data sets with what a network predicts on them.

    Parameters
    ----------
    datasets : mapping of str to SampleDataset
        By title.
    observer : Observer
        Runs the network on them.
    void_data : sequence of str
        Titles of those whose void pixels stand for the unknown.
    scale : float
        Sides of the resynthesis' grid by those of the work grid.

    """

    def __init__(
        self,
        datasets: Mapping[str, SampleDataset],
        observer: Observer,
        *,
        void_data: Sequence[str] = (),
        scale: float,
    ) -> None:
        self._datasets, self._observer, self._scale = datasets, observer, scale
        self._places = [
            (title, index) for title, one in datasets.items() for index in range(len(one))
        ]
        self._void_data = frozenset(void_data)
        self._kept: dict[int, Frame] = {}

    def __len__(self) -> int:
        return len(self._places)

    def names(self) -> list[str]:
        """Return the names of all frames, in order."""
        return [f'{title}/{self._datasets[title].names[index]}' for title, index in self._places]

    def __getitem__(self, number: int) -> Frame:
        if number not in self._kept:
            if len(self._kept) >= _KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[number] = self._load(*self._places[number])
        return self._kept[number]

    def draw(self, step: int, seed: int) -> tuple[Frame, np.random.Generator]:
        """Return the frame of a training step, mirrored or not, and the chance of the step."""
        epoch, place = divmod(step, len(self))
        order = np.random.default_rng((seed, 0, epoch)).permutation(len(self))
        rng = np.random.default_rng((seed, 1, step))
        frame = self[int(order[place])]
        if rng.random() < 0.5:
            frame = Frame(*(np.ascontiguousarray(one[:, ::-1]) for one in frame))
        return frame, rng

    @torch.no_grad()
    def _load(self, title: str, index: int) -> Frame:
        network = self._observer.network
        (seen,) = self._observer.walk(self._datasets[title], [index], with_features=False)
        work = (seen.image.shape[0], seen.image.shape[1])
        grid = resynthesis_grid(work, self._scale, network.stride)
        maps = class_maps(seen.logits, grid, align_corners=network.align_corners)
        size = (grid[1], grid[0])
        target = np.asarray(cv2.resize(seen.targets, size, interpolation=cv2.INTER_NEAREST_EXACT))
        is_labelled = target < network.num_classes
        predicted = maps.semantics.byte().cpu().numpy()
        return Frame(
            resize_image(seen.image, grid),
            np.where(is_labelled, target, predicted),
            is_labelled,
            self._find_void(target, title),
            maps.entropy.cpu().numpy(),
            maps.distance.cpu().numpy(),
        )

    def _find_void(self, target: np.ndarray, title: str) -> np.ndarray:
        if title not in self._void_data:
            return np.zeros(target.shape, bool)
        void = ((target == IGNORED) | (target == OOD)).astype(np.uint8)
        opened = cv2.morphologyEx(void, cv2.MORPH_OPEN, np.ones((_SEAM, _SEAM), np.uint8))
        return np.asarray(opened) > 0
