"""Network + image -> logits and features, as the node prepares them; a walk over data."""

from collections.abc import Iterable, Iterator, Sequence

import cv2
from meta_ood_ros.core.backends.device import resolve_device
from meta_ood_ros.core.backends.eager import to_inference
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.files.image_file import MAX_FILE_PIXELS
from meta_ood_ros.core.image import resize_image, to_network_input, to_work_size
from meta_ood_ros.core.networks import OnnxNetwork, OodNetwork
from meta_ood_training.datasets import SampleDataset
from meta_ood_training.methods.observation import Observation
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor


class Observer:
    """
    A network made ready to run on whole images, in float32.

    Parameters
    ----------
    network : OodNetwork
        Copied, with its normalisations folded.
    input_mean, input_std : sequence of 3 float
        Of RGB values in [0, 1].
    work_short_side : int
        Short side of the work grid [px]; 0 is the size of the image.
    work_size : (int, int), optional
        Height and width of the work grid instead [px], aspect not kept.
    device : str
        'cpu', 'cuda', 'cuda:N' or 'auto'.

    Attributes
    ----------
    network : OodNetwork
        The copy that runs, on the device.
    device : torch.device

    """

    def __init__(
        self,
        network: OodNetwork,
        *,
        input_mean: Sequence[float],
        input_std: Sequence[float],
        work_short_side: int = 0,
        work_size: tuple[int, int] | None = None,
        device: str = 'auto',
    ) -> None:
        self.input_mean, self.input_std = tuple(input_mean), tuple(input_std)
        self.work_short_side, self.work_size = work_short_side, work_size
        self.device = resolve_device(device).device
        is_file = isinstance(network, OnnxNetwork)
        self.network: OodNetwork = (
            network if is_file else to_inference(network, device=self.device, precision='fp32')
        )

    @classmethod
    def from_bundle(
        cls,
        bundle: Bundle,
        *,
        network: OodNetwork | None = None,
        work_short_side: int | None = None,
        work_size: tuple[int, int] | None = None,
        device: str = 'auto',
    ) -> 'Observer':
        """
        Return the observer of a bundle's network, or of another one that sees the same input.

        Parameters
        ----------
        bundle : Bundle
            Says how its images are prepared.
        network : OodNetwork, optional
            In place of the bundle's own.
        work_short_side : int, optional
            The bundle's where absent [px].
        work_size : (int, int), optional
            Fixed work grid instead [px].
        device : str
            'cpu', 'cuda', 'cuda:N' or 'auto'.

        """
        short_side = bundle.work_short_side if work_short_side is None else work_short_side
        return cls(
            network or bundle.build_network(),
            input_mean=bundle.input_mean,
            input_std=bundle.input_std,
            work_short_side=short_side,
            work_size=work_size,
            device=device,
        )

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of the work grid of an image [px]."""
        return self.work_size or to_work_size(
            image_size,
            short_side=self.work_short_side,
            stride=self.network.stride,
            max_pixels=MAX_FILE_PIXELS,
        )

    def to_grid(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an image (H, W, 3) on its work grid."""
        return resize_image(image, self.grid((image.shape[0], image.shape[1])))

    def run(
        self, image: NDArray[np.uint8], *, with_features: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """
        Return what the network says about an image on the work grid.

        Parameters
        ----------
        image : ndarray of shape (H, W, 3), uint8
            As `to_grid` gives it.
        with_features : bool
            Whether the features are asked for.

        Returns
        -------
        logits : Tensor of shape (C, h, w), float32
        features : Tensor of shape (D, h, w), float32, or None

        """
        x = to_network_input(image, mean=self.input_mean, std=self.input_std, device=self.device)
        with torch.inference_mode():
            x = x.contiguous(memory_format=torch.channels_last)
            if not with_features:
                return self.network(x)[0].float(), None
            logits, features = self.network.with_features(x)
        return logits[0].float(), features[0].float()

    def walk(
        self,
        dataset: SampleDataset,
        indices: Iterable[int] | None = None,
        *,
        with_features: bool = True,
    ) -> Iterator[Observation]:
        """
        Yield the labelled frames of a data set as the network sees them.

        Parameters
        ----------
        dataset : SampleDataset
            Images with class ids.
        indices : iterable of int, optional
            Which samples, in which order; all where absent.
        with_features : bool
            Whether observations carry features.

        Yields
        ------
        Observation

        """
        for index in range(len(dataset)) if indices is None else indices:
            sample = dataset[index]
            image = self.to_grid(sample.image)
            targets = sample.target
            if targets.shape != image.shape[:2]:
                size = (image.shape[1], image.shape[0])
                targets = cv2.resize(targets, size, interpolation=cv2.INTER_NEAREST_EXACT)
            logits, features = self.run(image, with_features=with_features)
            yield Observation(
                image, logits, features, np.asarray(targets), sample.name, sample.group
            )
