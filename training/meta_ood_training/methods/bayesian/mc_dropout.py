"""
MC dropout: Gal and Ghahramani, ICML 2016; for segmentation Kendall and Gal 2017, Blum et al. 2021.

Dropout stays on while the network answers several times. A network with dropout layers drops
there, with the share that it was trained with. One without any was never trained for it: then
values are dropped at the inputs of its last convolutions: a heuristic, no posterior.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import hashlib
import time
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from meta_ood_ros.core.scorers import Scorer
from meta_ood_training.methods.bayesian.samples import (
    Answer,
    ENTROPY,
    measure_answers,
    MUTUAL_INFORMATION,
)
from meta_ood_training.methods.layers import order_of
from meta_ood_training.methods.method import Setup
from meta_ood_training.methods.own_pass import OwnPass
import numpy as np
from numpy.typing import NDArray
import torch
from torch import nn, Tensor

ANSWERS, INSERTED, SHARE = 16, 3, 0.2
"""Answers a frame; before how many last convolutions dropout is inserted, and which share."""
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout)


@dataclass(frozen=True, eq=False)
class _Measured:
    question: tuple[Any, ...]
    maps: dict[str, NDArray[np.float32]]
    seconds: float


_LAST: WeakKeyDictionary[nn.Module, _Measured] = WeakKeyDictionary()
"""Both measures are of the same answers: the last of a network, for the other to take."""


class McDropoutScorer(Scorer):
    """
    Predictive entropy of several answers with dropout; `shared_s` is what another spent for it.

    Parameters
    ----------
    network_pass : OwnPass
        Runs the network `answers` times a frame.
    seed : int
        The same frame is given the same answers, whatever came before it.

    """

    name: ClassVar[str] = 'mc_dropout_entropy'
    measure: ClassVar[str] = ENTROPY

    def __init__(
        self, network_pass: OwnPass, *, answers: int = ANSWERS, share: float = SHARE, seed: int = 0
    ) -> None:
        if answers < 2:
            raise ValueError(f'answers of MC dropout must be at least 2, got {answers}.')
        if not 0 < share < 1:
            raise ValueError(f'share of MC dropout must lie in (0, 1), got {share}.')
        self._pass, self.answers, self.share, self.seed = network_pass, answers, share, seed
        self.shared_s = 0.0
        self.places = dropout_places(network_pass.network, share)

    def score(
        self, image: NDArray[np.uint8], logits: Tensor, features: Tensor | None = None
    ) -> NDArray[np.float32]:
        """Return how far the answers are from one certain class; the logits given are not used."""
        network = self._pass.network
        content = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        question = (content, image.shape, self.answers, self.share, self.seed)
        last = _LAST.get(network)
        self.shared_s = last.seconds if last and last.question == question else 0.0
        if last is None or last.question != question:
            start = time.perf_counter()
            maps = self._measure(image)
            last = _LAST[network] = _Measured(question, maps, time.perf_counter() - start)
        return self.checked(last.maps[self.measure])

    def _measure(self, image: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        x = self._pass.to_input(image)
        random = torch.Generator(device=x.device).manual_seed(self.seed)
        network, align = self._pass.network, self._pass.align_corners
        with torch.inference_mode(), dropping(network, self.places, random):
            answers = [Answer(network(x)[0], align) for _ in range(self.answers)]
        return measure_answers(answers, (image.shape[0], image.shape[1]))


class McDropoutInformationScorer(McDropoutScorer):
    """Mutual information of answer and weights, of several answers with dropout."""

    name = 'mc_dropout_mutual_information'
    measure = MUTUAL_INFORMATION


def dropout_places(network: nn.Module, share: float) -> dict[str, tuple[bool, float]]:
    """Return by layer whether its output, else its input, is dropped, and which share of it."""
    own = {
        name: (True, module.p)
        for name, module in network.named_modules()
        if isinstance(module, _DROPOUTS) and module.p > 0
    }
    if own:
        return own
    last = list(dict.fromkeys(name for name, _ in reversed(order_of(network, (nn.Conv2d,)))))
    return dict.fromkeys(last[:INSERTED], (False, share))


@contextmanager
def dropping(
    network: nn.Module, places: dict[str, tuple[bool, float]], random: torch.Generator
) -> Iterator[None]:
    """Drop values at places of a network in eval mode, which is left as it was."""

    def drop(values: Tensor, share: float) -> Tensor:
        kept = torch.rand(values.shape, generator=random, device=values.device) >= share
        return values * kept / (1.0 - share)

    def behind(share: float) -> Any:
        return lambda module, inputs, output: drop(output, share)

    def before(share: float) -> Any:
        return lambda module, inputs: (drop(inputs[0], share), *inputs[1:])

    modules = dict(network.named_modules())
    handles = [
        modules[name].register_forward_hook(behind(share))
        if is_behind
        else modules[name].register_forward_pre_hook(before(share))
        for name, (is_behind, share) in places.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def build_mc_dropout(setup: Setup) -> McDropoutScorer:
    """Return the scorer of the predictive entropy."""
    return McDropoutScorer(OwnPass.of_running(setup, McDropoutScorer.name), seed=setup.seed)


def build_mc_dropout_information(setup: Setup) -> McDropoutScorer:
    """Return the scorer of the mutual information."""
    name = McDropoutInformationScorer.name
    return McDropoutInformationScorer(OwnPass.of_running(setup, name), seed=setup.seed)
