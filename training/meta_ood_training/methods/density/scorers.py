"""Densities of the features as scores: Mahalanobis, nearest neighbours, their class density."""

from collections.abc import Mapping
from typing import Any, ClassVar

from meta_ood_ros.core.scorers import Scorer
from meta_ood_training.methods.density.embeddings import EmbeddingSample, label_patches
from meta_ood_training.methods.density.knn import EmbeddingDensity
from meta_ood_training.methods.density.mahalanobis import GaussianSums, TiedGaussians
from meta_ood_training.methods.fitted_file import broken_state, load_state
from meta_ood_training.methods.method import Setup
from meta_ood_training.methods.own_pass import upsampled
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

EMBEDDINGS = 50_000
"""Sampled for the neighbours; Blum et al. take those of 1000 images."""


class MahalanobisScorer(Scorer):
    """Squared Mahalanobis distance of the features to the nearest class, see `mahalanobis`."""

    name: ClassVar[str] = 'mahalanobis'
    uses_features = True

    def __init__(self, gaussians: TiedGaussians, *, align_corners: bool) -> None:
        self.gaussians, self.align_corners = gaussians, align_corners

    def score(
        self, image: NDArray[np.uint8], logits: Tensor, features: Tensor | None = None
    ) -> NDArray[np.float32]:
        """Return the distance, see `Scorer.score`."""
        distance = self.gaussians.nearest_distance(self.needed(features))
        size = (image.shape[0], image.shape[1])
        return self.checked(upsampled(distance, size, align_corners=self.align_corners))

    def state(self) -> dict[str, np.ndarray]:
        """Return means and whitening."""
        return {
            'means': self.gaussians.means.numpy(),
            'whitening': self.gaussians.whitening.numpy(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray], **options: Any) -> 'MahalanobisScorer':
        """Return the scorer with what was fitted."""
        try:
            means, whitening = (
                torch.from_numpy(state[one]).double() for one in ('means', 'whitening')
            )
            if means.ndim != 2 or whitening.ndim != 2 or means.shape[1] != whitening.shape[1]:
                raise ValueError(f'shapes {tuple(means.shape)} and {tuple(whitening.shape)}')
        except (KeyError, TypeError, ValueError) as error:
            raise broken_state(cls.name, error) from error
        return cls(TiedGaussians(means, whitening), **options)


class KnnDensityScorer(Scorer):
    """Minus the density of the 20 nearest training embeddings, see `knn`."""

    name: ClassVar[str] = 'knn_density'
    uses_features = True

    def __init__(self, density: EmbeddingDensity, *, align_corners: bool) -> None:
        self.density, self.align_corners = density, align_corners

    def score(
        self, image: NDArray[np.uint8], logits: Tensor, features: Tensor | None = None
    ) -> NDArray[np.float32]:
        """Return the score, see `Scorer.score`."""
        density = self.measured(logits, self.needed(features))
        size = (image.shape[0], image.shape[1])
        return self.checked(upsampled(-density, size, align_corners=self.align_corners))

    def measured(self, logits: Tensor, features: Tensor) -> Tensor:
        """Return the density (h, w)."""
        return self.density.density(features)

    def state(self) -> dict[str, np.ndarray]:
        """Return the embeddings, and the classes of their patches as bits."""
        return {
            'values': self.density.values,
            'classes': np.packbits(self.density.classes, axis=1),
            'num_classes': np.array(self.density.classes.shape[1]),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray], **options: Any) -> 'KnnDensityScorer':
        """Return the scorer with what was fitted; its index is built at the first frame."""
        kind = options.pop('index', 'auto')
        try:
            values = np.asarray(state['values'], dtype=np.float32)
            count = int(state['num_classes'])
            classes = np.unpackbits(state['classes'], axis=1, count=count).astype(bool)
            if values.ndim != 2 or len(values) != len(classes):
                raise ValueError(f'shapes {values.shape} and {classes.shape}')
        except (KeyError, TypeError, ValueError) as error:
            raise broken_state(cls.name, error) from error
        return cls(EmbeddingDensity(values, classes, kind), **options)


class KnnClassDensityScorer(KnnDensityScorer):
    """Minus the share of the predicted class among the 100 nearest, see `knn`."""

    name = 'knn_class_density'

    def measured(self, logits: Tensor, features: Tensor) -> Tensor:
        """Return the relative density (h, w) of the class predicted for each embedding."""
        if logits.shape[1:] != features.shape[1:]:
            logits = torch.nn.functional.interpolate(
                logits[None],
                (features.shape[1], features.shape[2]),
                mode='bilinear',
                align_corners=self.align_corners,
            )[0]
        return self.density.class_density(features, logits.argmax(0))


def build_mahalanobis(setup: Setup) -> MahalanobisScorer:
    """Return the scorer as it was fitted before, or fitted on labelled frames."""
    name, align = MahalanobisScorer.name, setup.align_corners
    if name in setup.artefacts:
        state = load_state(setup.artefact(name), name, setup.bundle)
        return MahalanobisScorer.from_state(state, align_corners=align)
    sums = GaussianSums(setup.bundle.num_classes)
    for one in setup.walk(name):
        features = _features_of(one.features, name)
        grid = (features.shape[1], features.shape[2])
        patches = label_patches(one.targets, grid, setup.bundle.num_classes)
        sums.update(features, np.where(patches.usable, patches.majority, np.int16(-1)))
    return MahalanobisScorer(sums.fit(), align_corners=align)


def build_knn_density(
    setup: Setup, *, embeddings: int = EMBEDDINGS, index: str = 'auto'
) -> KnnDensityScorer:
    """Return the scorer as it was fitted before, or with embeddings sampled from frames."""
    return _build_knn(KnnDensityScorer, setup, embeddings, index)


def build_knn_class_density(
    setup: Setup, *, embeddings: int = EMBEDDINGS, index: str = 'auto'
) -> KnnDensityScorer:
    """Return the scorer as it was fitted before, or with embeddings sampled from frames."""
    return _build_knn(KnnClassDensityScorer, setup, embeddings, index)


def _build_knn(
    scorer: type[KnnDensityScorer], setup: Setup, embeddings: int, index: str
) -> KnnDensityScorer:
    name, align = scorer.name, setup.align_corners
    if name in setup.artefacts:
        state = load_state(setup.artefact(name), name, setup.bundle)
        return scorer.from_state(state, align_corners=align, index=index)
    sample = EmbeddingSample(embeddings, setup.bundle.num_classes, setup.seed)
    for one in setup.walk(name):
        sample.update(_features_of(one.features, name), one.targets)
    return scorer(EmbeddingDensity(*sample.take(), index), align_corners=align)


def _features_of(features: Tensor | None, name: str) -> Tensor:
    if features is None:
        raise ValueError(
            f'{name} is fitted on features, got observations without. Walk with them.'
        )
    return features
