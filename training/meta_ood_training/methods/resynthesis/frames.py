"""Labelled street frames -> image, class map, void and uncertainty on the resynthesis' grid."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
from meta_ood_ros.core.files.image_file import MAX_FILE_PIXELS
from meta_ood_ros.core.image import resize_image, to_network_input, to_work_size
from meta_ood_ros.core.networks import OodNetwork
from meta_ood_training.datasets import IGNORED, OOD, SampleDataset
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
    void_data : sequence of str
        Titles of those whose void pixels stand for the unknown.
    mean, std : sequence of 3 float
        Of RGB values in [0, 1], with which the network takes images.
    work_short_side : int
        Of the grid on which it predicts [px]; 0 keeps the size of the images.
    scale : float
        Sides of the resynthesis' grid by those of that one.

    """

    def __init__(
        self,
        datasets: Mapping[str, SampleDataset],
        network: OodNetwork,
        *,
        void_data: Sequence[str] = (),
        mean: Sequence[float],
        std: Sequence[float],
        work_short_side: int,
        scale: float,
    ) -> None:
        self._datasets = datasets
        self._places = [
            (title, index) for title, one in datasets.items() for index in range(len(one))
        ]
        self._network, self._mean, self._std = network, mean, std
        self._device = next(network.parameters()).device
        self._void_data = frozenset(void_data)
        self._work_short_side, self._scale = work_short_side, scale
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
        sample = self._datasets[title][index]
        shape = sample.target.shape
        stride = self._network.stride
        work = to_work_size(
            (shape[0], shape[1]),
            short_side=self._work_short_side,
            stride=stride,
            max_pixels=MAX_FILE_PIXELS,
        )
        grid = resynthesis_grid(work, self._scale, stride)
        x = to_network_input(
            sample.image, work, mean=self._mean, std=self._std, device=self._device
        )
        maps = class_maps(self._network(x)[0], grid, align_corners=self._network.align_corners)
        target = cv2.resize(
            sample.target, (grid[1], grid[0]), interpolation=cv2.INTER_NEAREST_EXACT
        )
        is_labelled = np.asarray(target < self._network.num_classes)
        predicted = maps.semantics.byte().cpu().numpy()
        return Frame(
            resize_image(sample.image, grid),
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
