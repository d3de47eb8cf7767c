"""Upsampled class logits with the planes of a head behind them -> a score, higher = more OoD."""

from meta_ood_ros.core.scorers import EntropyScorer, LogitScorer
from meta_ood_ros.core.uncertainty import normalized_entropy
from meta_ood_training.heads.beside import HeadKind
from meta_ood_training.heads.dirichlet import Measure, MEASURES
import torch
from torch import Tensor

_ROWS = 64
"""At a time: C planes in float64 of a whole image, and what is made of them, fill half a GB."""


class VoidClassScorer(LogitScorer):
    """Probability of the last of C + 1 classes (Blum et al., section 4.1)."""

    name = 'void_class'

    def of_logits(self, logits: Tensor) -> Tensor:
        return logits.softmax(0)[-1]


class OutlierHeadScorer(LogitScorer):
    """Probability that the head gives to OoD (Bevandic et al.)."""

    name = 'outlier_head'

    def of_logits(self, logits: Tensor) -> Tensor:
        return logits[-1].sigmoid()


class ResidualHeadScorer(LogitScorer):
    """Softmax entropy over log C of the C logits plus the C of the head."""

    name = 'residual_head'

    def of_logits(self, logits: Tensor) -> Tensor:
        own, residual = logits.chunk(2)
        return normalized_entropy(own + residual)


class DirichletScorer(LogitScorer):
    """
    A measure of the Dirichlet density with concentrations e^z (Malinin & Gales).

    Parameters
    ----------
    measure : str
        `differential_entropy`, as Blum et al.; `mutual_information`; `precision`, -log of the sum
        of concentrations.

    """

    name = 'dirichlet'

    def __init__(
        self, *, align_corners: bool = False, measure: Measure = 'differential_entropy'
    ) -> None:
        super().__init__(align_corners=align_corners)
        self.measure = measure

    def of_logits(self, logits: Tensor) -> Tensor:
        parts = logits.unsqueeze(0).split(_ROWS, 2)
        return torch.cat([MEASURES[self.measure](part) for part in parts], 1)[0].float()


SCORERS: dict[str, type[LogitScorer]] = {
    one.name: one
    for one in (VoidClassScorer, OutlierHeadScorer, ResidualHeadScorer, DirichletScorer)
}


def scorer_of(kind: HeadKind | str, *, align_corners: bool) -> LogitScorer:
    """Return the scorer of an objective's kind: the entropy's where the network has no head."""
    return SCORERS.get(kind, EntropyScorer)(align_corners=align_corners)
