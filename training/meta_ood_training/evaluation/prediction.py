"""Network -> semantic, entropy and max_probability at the size of each image's labels."""

from collections.abc import Callable, Sequence

import cv2
from meta_ood_ros.core.backends import load_backend
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.dense import DensePrediction, predict_dense
from meta_ood_ros.core.files.image_file import MAX_FILE_PIXELS
from meta_ood_ros.core.image import IMAGENET_MEAN, IMAGENET_STD, to_network_input, to_work_size
from meta_ood_ros.core.networks import OodNetwork
from meta_ood_ros.core.scorers import EntropyScorer, VariationRatioScorer
from meta_ood_training.plain_arguments import check_choice
import numpy as np

SCORES: dict[str, Callable[[DensePrediction], np.ndarray]] = {
    EntropyScorer.name: lambda dense: dense.entropy,
    VariationRatioScorer.name: lambda dense: 1 - dense.max_probability,
}
"""Those of `core.scorers` that the maps of a prediction hold: name -> score of each pixel."""

OLD_NAMES = {'max_softmax': VariationRatioScorer.name}
"""Names that scores had before they were those of `core.scorers`."""


def find_scores(names: Sequence[str] = ()) -> tuple[str, ...]:
    """Return names of SCORES, all where none are given; an old name is that of today."""
    found = tuple(dict.fromkeys(OLD_NAMES.get(name, name) for name in names)) or tuple(SCORES)
    for name in found:
        check_choice('--score', name, sorted(SCORES))
    return found


class Predictor:
    """Runs a network on whole images as the node does, and scales its maps to the images."""

    def __init__(
        self,
        network: OodNetwork,
        *,
        input_mean: Sequence[float] = IMAGENET_MEAN,
        input_std: Sequence[float] = IMAGENET_STD,
        work_short_side: int = 0,
        work_size: tuple[int, int] | None = None,
        device: str = 'cpu',
        backend: str = 'eager',
        precision: str = 'fp32',
    ) -> None:
        self.input_mean, self.input_std = input_mean, input_std
        self.work_short_side, self.work_size = work_short_side, work_size
        self._stride, self._align_corners = network.stride, network.align_corners
        self._backend = load_backend(backend, network, device=device, precision=precision)

    @classmethod
    def from_bundle(
        cls,
        bundle: Bundle,
        *,
        work_short_side: int | None = None,
        work_size: tuple[int, int] | None = None,
        device: str = 'cpu',
        backend: str = 'eager',
        precision: str = 'fp32',
    ) -> 'Predictor':
        """Return the predictor of a bundle's network."""
        short_side = bundle.work_short_side if work_short_side is None else work_short_side
        return cls(
            bundle.build_network(),
            input_mean=bundle.input_mean,
            input_std=bundle.input_std,
            work_short_side=short_side,
            work_size=work_size,
            device=device,
            backend=backend,
            precision=precision,
        )

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return the work grid of an image."""
        return self.work_size or to_work_size(
            image_size,
            short_side=self.work_short_side,
            stride=self._stride,
            max_pixels=MAX_FILE_PIXELS,
        )

    def __call__(self, image: np.ndarray) -> DensePrediction:
        """
        Return what the network says about every pixel of an image.

        Parameters
        ----------
        image : ndarray of shape (H, W, 3), uint8
            RGB.

        Returns
        -------
        DensePrediction
            (H, W) maps: predicted on the work grid, then entropy and max_probability scaled
            bilinearly, classes by nearest neighbour (of pixel centres).

        """
        height, width = image.shape[:2]
        grid = self.grid((height, width))
        x = to_network_input(
            image, grid, mean=self.input_mean, std=self.input_std, device=self._backend.device
        )
        dense = predict_dense(self._backend(x)[0], grid, align_corners=self._align_corners)
        if grid == (height, width):
            return dense
        size = (width, height)
        return DensePrediction(
            np.asarray(cv2.resize(dense.semantic, size, interpolation=cv2.INTER_NEAREST_EXACT)),
            np.asarray(cv2.resize(dense.entropy, size, interpolation=cv2.INTER_LINEAR)),
            np.asarray(cv2.resize(dense.max_probability, size, interpolation=cv2.INTER_LINEAR)),
        )
