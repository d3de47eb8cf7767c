"""
Learned embedding density as a score: Blum et al. 2021, section 4.2.

The NLL of the embeddings at one or several layers, each less its mean over the training embeddings
(equation 8), upsampled; joined by the minimum, or by a logistic regression fitted on OoD pixels.
"""

from collections.abc import Mapping
import math
from typing import Any, ClassVar

from meta_ood_ros.core.scorers import Scorer
from meta_ood_training.methods.density.real_nvp import RealNvp
from meta_ood_training.methods.fitted_file import broken_state
from meta_ood_training.methods.layers import LayerTap
from meta_ood_training.methods.own_pass import OwnPass, upsampled
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

NOISE = 0.25
"""Magnitude of the input preprocessing (table 9). The paper names no unit; here grey levels."""
_BLOCK = 1 << 15


class FlowScorer(Scorer):
    """
    NLL of the embeddings before the last activation, after a step of the input that lowers it.

    Parameters
    ----------
    network_pass : OwnPass
        Runs the network once, and once more with a gradient where there is a step.
    flows : mapping of str to RealNvp
        By layer, the last layer last.
    noise : float
        The input moves by as many grey levels, of 255, against the gradient of the mean NLL.
    weights : ndarray of shape (L + 1,), optional
        Of the logistic regression: one a layer, and the intercept.

    """

    name: ClassVar[str] = 'flow'

    def __init__(
        self,
        network_pass: OwnPass,
        flows: Mapping[str, RealNvp],
        *,
        noise: float = NOISE,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        check_noise(noise)
        self._pass, self.flows, self.noise, self.weights = (
            network_pass,
            dict(flows),
            noise,
            weights,
        )
        for flow in self.flows.values():
            flow.to(network_pass.device).eval().requires_grad_(False)
        self._tap = LayerTap(network_pass.network, self.used())

    def used(self) -> list[str]:
        """Return the layers that the score depends on."""
        return list(self.flows)[-1:]

    def joined(self, layers: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return one score (H, W) of the scores of the layers."""
        return layers[0]

    def score(
        self, image: NDArray[np.uint8], logits: Tensor, features: Tensor | None = None
    ) -> NDArray[np.float32]:
        """Return the score, see `Scorer.score`; logits and features given are not used."""
        return self.checked(self.joined(self.layer_scores(image)))

    def layer_scores(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Return NLL minus its training mean (H, W) of each layer that is used."""
        size, align = (image.shape[0], image.shape[1]), self._pass.align_corners
        x = self.stepped(image) if self.noise else self._pass.to_input(image)
        with torch.inference_mode():
            maps = self._nll_maps(x)
        return [upsampled(one, size, align_corners=align) for one in maps]

    def stepped(self, image: NDArray[np.uint8]) -> Tensor:
        """Return the network's input (1, 3, H, W) after the step."""
        with torch.enable_grad():
            x = self._pass.to_input(image).requires_grad_()
            loss = torch.stack([one.mean() for one in self._nll_maps(x)]).mean()
            (gradient,) = torch.autograd.grad(loss, x)
        std = torch.tensor(self._pass.input_std, device=x.device).view(1, 3, 1, 1)
        return x.detach() - self.noise / 255.0 / std * gradient.sign()

    def _nll_maps(self, x: Tensor) -> list[Tensor]:
        _, taken = self._tap(x)
        maps = []
        for name in self._tap.names:
            flow, embeddings = self.flows[name], taken[name][0]
            if embeddings.shape[0] != flow.dimensions:
                raise ValueError(
                    f'embeddings of {name!r} must have the {flow.dimensions} dimensions that were '
                    f'fitted, got {embeddings.shape[0]}. Fit the method with this bundle.'
                )
            rows = embeddings.flatten(1).T.split(_BLOCK)
            nll = torch.cat([flow.nll(block) for block in rows]) - flow.training_nll
            maps.append(nll.view(embeddings.shape[1:]))
        return maps

    def state(self) -> dict[str, np.ndarray]:
        """Return the flows by the number of their layer, its name, the weights, the noise."""
        state: dict[str, np.ndarray] = {
            'layers': np.frombuffer('\n'.join(self.flows).encode(), dtype=np.uint8),
            'noise': np.array(self.noise),
        }
        for index, flow in enumerate(self.flows.values()):
            for key, tensor in flow.state_dict().items():
                state[f'{index}.{key}'] = tensor.cpu().numpy()
        if self.weights is not None:
            state['weights'] = self.weights
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray], **options: Any) -> 'FlowScorer':
        """Return the scorer with what was fitted; `network_pass` is an option."""
        try:
            names = bytes(state['layers']).decode().split('\n')
            flows = {name: _flow_of(state, index) for index, name in enumerate(names)}
            weights = np.asarray(state['weights'], float) if 'weights' in state else None
            options = {'noise': float(state['noise'])} | options
        except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
            raise broken_state(cls.name, error) from error
        return cls(flows=flows, weights=weights, **options)


class FlowMinimumScorer(FlowScorer):
    """Minimum of the NLL over layers: OoD is what is unlikely at all of them."""

    name = 'flow_minimum'

    def used(self) -> list[str]:
        """Return all layers."""
        return list(self.flows)

    def joined(self, layers: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the smallest."""
        return np.minimum.reduce(layers)


class FlowRegressionScorer(FlowMinimumScorer):
    """Logit of a logistic regression on the NLL of all layers, fitted on OoD pixels."""

    name = 'flow_regression'

    def joined(self, layers: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the weighted sum."""
        if self.weights is None or len(self.weights) != len(layers) + 1:
            raise ValueError(
                f'weights of {self.name} must be {len(layers) + 1}, got '
                f'{0 if self.weights is None else len(self.weights)}. Fit it: meta-ood-train '
                'fit-score flow_regression --ood-data NAME=PATH'
            )
        total = np.full(layers[0].shape, self.weights[-1], dtype=np.float64)
        for weight, layer in zip(self.weights, layers, strict=False):
            total += weight * layer
        return total.astype(np.float32)


def check_noise(noise: float) -> None:
    """Refuse a step that is none."""
    if not 0 <= noise < math.inf:
        raise ValueError(f'noise of a flow must be at least 0 grey levels, got {noise}.')


def _flow_of(state: Mapping[str, np.ndarray], index: int) -> RealNvp:
    own = {
        key.partition('.')[2]: torch.from_numpy(np.array(one))
        for key, one in state.items()
        if key.startswith(f'{index}.')
    }
    steps = 1 + max(int(key.split('.')[1]) for key in own if key.startswith('parts.'))
    hidden = own['parts.0.net.0.weight'].shape[0]
    flow = RealNvp(len(own['centre']), hidden=hidden, steps=steps // 3)
    flow.load_state_dict(own)
    return flow
