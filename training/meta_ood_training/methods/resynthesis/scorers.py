"""The two scores of a trained resynthesis: `resynthesis` and `synboost`."""

from collections.abc import Mapping, Sequence
from typing import Any

from meta_ood_ros.core.networks import OodNetwork
from meta_ood_ros.core.scorers import Scorer
from meta_ood_training.methods.method import MethodNeedsError, Setup
from meta_ood_training.methods.resynthesis.class_maps import class_maps, resynthesis_grid
from meta_ood_training.methods.resynthesis.comparison import compare, Comparison, image_tensor
from meta_ood_training.methods.resynthesis.discrepancy import DiscrepancyNetwork
from meta_ood_training.methods.resynthesis.feature_levels import FeatureLevels
from meta_ood_training.methods.resynthesis.generator import SpadeGenerator
from meta_ood_training.methods.resynthesis.trained_files import (
    load_trained,
    PERCEPTUAL_SCALE,
    SCALE,
    WEIGHTS,
)
import numpy as np
from numpy.typing import NDArray
import torch
from torch import nn, Tensor
from torch.nn.functional import interpolate


class ResynthesisScorer(Scorer):
    """
    Probability that an image is not what its predicted classes say (Lis et al., ICCV 2019).

    Predicted class map -> `SpadeGenerator` -> `DiscrepancyNetwork` on image, resynthesis and map.

    Parameters
    ----------
    state : mapping of str to ndarray
        What `meta-ood-train resynthesis` has trained.
    network : OodNetwork
        The one whose logits are scored; its features are compared.
    mean, std : sequence of 3 float
        Of RGB values in [0, 1], with which it takes images.

    """

    name = 'resynthesis'
    _part = 'discrepancy'
    _numbers: tuple[str, ...] = (SCALE,)

    def __init__(
        self,
        state: Mapping[str, np.ndarray],
        *,
        network: OodNetwork,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        self._network = network
        self._levels = FeatureLevels(
            network, mean=mean or network.input_mean, std=std or network.input_std
        )
        lacking = [one for one in (*self._numbers, 'generator.last.weight') if one not in state]
        if lacking:
            raise ValueError(
                f'{self.name} must have the state that `meta-ood-train resynthesis` writes, got '
                f'one without {", ".join(lacking)}. Train it.'
            )
        self._state = {
            key: np.asarray(value)
            for key, value in state.items()
            if key in self._numbers or key.startswith(('generator.', f'{self._part}.'))
        }
        device = next(network.parameters()).device
        width = int(self._state['generator.last.weight'].shape[1])
        self._generator = SpadeGenerator(network.num_classes, width=width)
        self._comparer = DiscrepancyNetwork(
            self._levels.channels,
            network.num_classes,
            with_uncertainty=self._part == 'dissimilarity',
        )
        self._load(self._generator, 'generator.', device)
        self._load(self._comparer, f'{self._part}.', device)
        self._scale = float(self._state[SCALE].item())

    def _load(self, module: nn.Module, start: str, device: torch.device) -> None:
        tensors = {
            key[len(start) :]: torch.from_numpy(value.copy())
            for key, value in self._state.items()
            if key.startswith(start)
        }
        try:
            module.load_state_dict(tensors)
        except RuntimeError as error:
            raise ValueError(
                f'{self.name} must have been trained for this network, got other layers: '
                f'{str(error).splitlines()[-1].strip()} Train it for this bundle.'
            ) from error
        module.to(device).eval().requires_grad_(False)

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray], **options: Any) -> 'ResynthesisScorer':
        """Return the scorer with what was trained; options are those of the constructor."""
        return cls(state, **options)

    def state(self) -> dict[str, np.ndarray]:
        """Return the weights of generator and discrepancy network, and the scale."""
        return dict(self._state)

    @torch.no_grad()
    def score(
        self, image: NDArray[np.uint8], logits: Tensor, features: Tensor | None = None
    ) -> NDArray[np.float32]:
        """Return the probability of a discrepancy, (H, W) in [0, 1]; see `Scorer.score`."""
        height, width = image.shape[:2]
        grid = resynthesis_grid((height, width), self._scale, self._network.stride)
        device = next(self._generator.parameters()).device
        maps = class_maps(logits.to(device), grid, align_corners=self._network.align_corners)
        comparison = compare(
            self._levels, self._generator, image_tensor(image, grid, device), maps.semantics
        )
        found = self._of(comparison, maps.entropy, maps.distance)
        scores = interpolate(
            found[None, None], (height, width), mode='bilinear', align_corners=False
        )
        return self.checked(scores[0, 0].cpu().numpy())

    def _of(self, comparison: Comparison, entropy: Tensor, distance: Tensor) -> Tensor:
        logit = self._comparer(comparison.features, comparison.others, comparison.shares)
        return torch.sigmoid(logit[0, 0])


class SynBoostScorer(ResynthesisScorer):
    """
    Weighted sum of dissimilarity, entropy, distance and perceptual difference.

    Di Biase et al., CVPR 2021: the uncertainty maps are inputs of the dissimilarity network, and
    parts of the sum whose weights were found by grid search.
    """

    name = 'synboost'
    _part = 'dissimilarity'
    _numbers = (SCALE, PERCEPTUAL_SCALE, WEIGHTS)

    def _of(self, comparison: Comparison, entropy: Tensor, distance: Tensor) -> Tensor:
        perceptual_scale = float(self._state[PERCEPTUAL_SCALE].item())
        uncertainty = comparison.uncertainty(entropy, distance, perceptual_scale)
        logit = self._comparer(
            comparison.features, comparison.others, comparison.shares, uncertainty
        )
        parts = torch.cat([torch.sigmoid(logit[0]), uncertainty[0]])
        weights = torch.from_numpy(self._state[WEIGHTS].astype(np.float32)).to(parts.device)
        return torch.tensordot(weights, parts, dims=1)


def build_resynthesis(setup: Setup) -> ResynthesisScorer:
    """Return the scorer of the discrepancy network that was trained for a bundle."""
    return _build(ResynthesisScorer, setup)


def build_synboost(setup: Setup) -> ResynthesisScorer:
    """Return the scorer of the ensemble; one folder serves both methods."""
    return _build(SynBoostScorer, setup)


def _build(scorer: type[ResynthesisScorer], setup: Setup) -> ResynthesisScorer:
    given = next((one for one in (scorer.name, *_NAMES) if one in setup.artefacts), scorer.name)
    try:
        folder = setup.artefact(given)
    except MethodNeedsError as error:
        raise MethodNeedsError(f'{error} meta-ood-train resynthesis trains it.') from error
    state, _ = load_trained(folder, setup.bundle)
    mean, std = setup.bundle.input_mean, setup.bundle.input_std
    return scorer(state, network=setup.network, mean=mean, std=std)


_NAMES = (ResynthesisScorer.name, SynBoostScorer.name)
