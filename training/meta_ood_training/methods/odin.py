"""
ODIN: Liang, Li, Srikant, ICLR 2018, pixel by pixel.

The input moves one step, x' = x - eps sign(-grad log max softmax(f(x) / T)) (their equation 2),
which raises the largest softmax, more so where the network knows the image. The score is minus the
logarithm of that of x' at temperature T. For a map of pixels the gradient is that of the mean of
-log max softmax over the network's output, so one step serves all of them.
"""

import math
from typing import ClassVar

from meta_ood_ros.core.scorers import LogitScorer
from meta_ood_training.methods.method import Setup
from meta_ood_training.methods.own_pass import OwnPass
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

TEMPERATURE, STEP = 1000.0, 0.0014
"""T and eps of the paper (section 4.3); eps in units of the normalised input."""


class OdinScorer(LogitScorer):
    """
    Largest softmax at a high temperature, after a step of the input towards the prediction.

    Parameters
    ----------
    network_pass : OwnPass
        Runs the network once with a gradient, once without.
    temperature : float
        T.
    step : float
        eps, in units of the normalised input; 0 leaves the image as it is.

    """

    name: ClassVar[str] = 'odin'

    def __init__(
        self, network_pass: OwnPass, *, temperature: float = TEMPERATURE, step: float = STEP
    ) -> None:
        if not 0 < temperature < math.inf:
            raise ValueError(f'temperature of ODIN must be above 0, got {temperature}.')
        if not 0 <= step < math.inf:
            raise ValueError(f'step of ODIN must be at least 0, got {step}.')
        super().__init__(align_corners=network_pass.align_corners)
        self._pass, self.temperature, self.step = network_pass, temperature, step

    def stepped(self, image: NDArray[np.uint8]) -> Tensor:
        """Return the network's input (1, 3, H, W) after the step."""
        with torch.enable_grad():
            x = self._pass.to_input(image).requires_grad_()
            loss = -confidence(self._pass.network(x)[0] / self.temperature).mean()
            (gradient,) = torch.autograd.grad(loss, x)
        return x.detach() - self.step * gradient.sign()

    def score(
        self, image: NDArray[np.uint8], logits: Tensor, features: Tensor | None = None
    ) -> NDArray[np.float32]:
        """Return -log max softmax of the stepped image, less its largest value log C."""
        if self.step:
            with torch.no_grad():
                logits = self._pass.network(self.stepped(image))[0]
        return super().score(image, logits)

    def of_logits(self, logits: Tensor) -> Tensor:
        """Return -log max softmax at T minus log C, in [-log C, 0]."""
        distances = (logits - logits.amax(0)) / self.temperature
        # At T = 1000 all classes are nearly equal: what differs is near the rounding of log C.
        return torch.log1p(torch.expm1(distances).mean(0))


def confidence(logits: Tensor) -> Tensor:
    """Return log max softmax of logits (C, ...)."""
    return logits.amax(0) - torch.logsumexp(logits, 0)


def build_odin(setup: Setup) -> OdinScorer:
    """Return the scorer with temperature and step of the paper."""
    return OdinScorer(OwnPass.of(setup, 'odin'))
