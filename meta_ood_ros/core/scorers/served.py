"""The score that a bundle carries, and as the pipeline serves it: a map in [0, 1]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import math
from typing import Protocol

from meta_ood_ros.core.scorers.logit_size import EnergyScorer, MaxLogitScorer
from meta_ood_ros.core.scorers.score_scale import ScoreScale
from meta_ood_ros.core.scorers.scorer import Scorer
from meta_ood_ros.core.scorers.softmax import (
    EntropyScorer,
    MarginScorer,
    MaxSoftmaxScorer,
    VariationRatioScorer,
)
from meta_ood_ros.core.scorers.standardized_max_logit import StandardizedMaxLogitScorer
from meta_ood_ros.core.scorers.vim import VimScorer
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

#: Name -> scorer, of every score that a bundle can carry.
SCORERS: dict[str, type[Scorer]] = {
    one.name: one
    for one in (
        EntropyScorer,
        MaxSoftmaxScorer,
        MarginScorer,
        VariationRatioScorer,
        MaxLogitScorer,
        EnergyScorer,
        StandardizedMaxLogitScorer,
        VimScorer,
    )
}

#: Scores that need no fitted scale: their own range is known. Its end, of the number of classes.
_NATURAL_END = {
    EntropyScorer.name: lambda classes: 1.0,
    MarginScorer.name: lambda classes: 1.0,
    VariationRatioScorer.name: lambda classes: 1.0,
    MaxSoftmaxScorer.name: math.log,
}


@dataclass(frozen=True, eq=False)
class FittedScore:
    """
    What a bundle keeps of a score beside its name.

    Attributes
    ----------
    name : str
        A key of SCORERS.
    state : mapping of str to ndarray
        As `Scorer.state` gives it.
    scale : ScoreScale
        Fitted on in-distribution pixels.
    network_sha256 : str
        `Bundle.network_sha256` of the network that it was fitted with; '' where unknown.

    """

    name: str
    state: Mapping[str, np.ndarray]
    scale: ScoreScale
    network_sha256: str = ''


class ServedScore:
    """
    A scorer whose scores are brought to [0, 1].

    Parameters
    ----------
    scorer : Scorer
        One that looks at logits and features only.
    fitted : FittedScore or None
        With the scale; without, the score's own range is taken.
    num_classes : int
        C.

    """

    def __init__(self, scorer: Scorer, fitted: FittedScore | None, *, num_classes: int) -> None:
        check_servable(scorer.name, is_fitted=fitted is not None)
        self.scorer, self._num_classes = scorer, num_classes
        end = 1.0 if fitted is not None else _NATURAL_END[scorer.name](num_classes)
        self._end = np.float32(end)
        self._scale = None if fitted is None else fitted.scale

    def __call__(self, size: tuple[int, int], outputs: Tensor) -> NDArray[np.float32]:
        """
        Return how OoD each pixel is.

        Parameters
        ----------
        size : (int, int)
            Height and width of the work grid [px].
        outputs : Tensor of shape (C, h, w) or (C + D, h, w), float32
            Logits, and behind them the features where the scorer looks at them.

        Returns
        -------
        ndarray of shape (H, W), float32 in [0, 1]

        """
        image = np.broadcast_to(np.uint8(0), (*size, 3))  # of which only the size is looked at
        logits, features = outputs[: self._num_classes], outputs[self._num_classes :]
        scores = self.scorer.score(image, logits, features if len(features) else None)
        if self._scale is not None:
            return self._scale(scores)
        return np.clip(scores / self._end, 0.0, 1.0).astype(np.float32, copy=False)


def check_servable(name: str, *, is_fitted: bool) -> None:
    """
    Refuse a score that has no range of its own and none that was fitted.

    Parameters
    ----------
    name : str
        A key of SCORERS.
    is_fitted : bool
        Whether a bundle carries state and scale.

    """
    if not is_fitted and name not in _NATURAL_END:
        raise ValueError(
            f'score {name} must be fitted for the network, got a bundle that carries no fit of '
            f'it. Fit it: meta-ood-train fit-score {name}; or take one of '
            f'{", ".join(sorted(_NATURAL_END))}, which need none.'
        )


class CarriesScore(Protocol):
    """What a bundle says about its score."""

    @property
    def score(self) -> str:
        """Return its name."""

    @property
    def fitted_score(self) -> FittedScore | None:
        """Return what was fitted of it."""

    @property
    def num_classes(self) -> int:
        """Return C."""

    @property
    def entropy_threshold(self) -> float:
        """Return the threshold that was chosen for it."""


def serve(name: str, bundle: CarriesScore, *, align_corners: bool) -> ServedScore | None:
    """
    Return what computes a score.

    Parameters
    ----------
    name : str
        A key of SCORERS: that of the bundle, or another one that needs no fit.
    bundle : Bundle
        With what was fitted of its own score.
    align_corners : bool
        How the logits are upsampled, as the network says.

    Returns
    -------
    ServedScore or None
        None for entropy, which the fused path gives.

    """
    if name == EntropyScorer.name:
        return None
    fitted = bundle.fitted_score if name == bundle.score else None
    check_servable(name, is_fitted=fitted is not None)
    state = {} if fitted is None else fitted.state
    scorer = SCORERS[name].from_state(state, align_corners=align_corners)
    return ServedScore(scorer, fitted, num_classes=bundle.num_classes)


def bundle_threshold(bundle: CarriesScore, name: str) -> float:
    """
    Return the threshold of a bundle, or refuse it for another score than its own.

    Parameters
    ----------
    bundle : Bundle
        With a threshold of its score.
    name : str
        The score in use.

    """
    if name != bundle.score:
        raise ValueError(
            f'entropy_threshold must be set where score is {name}, got -1, which takes the value '
            f'of the bundle: that is one of {bundle.score}. Set both.'
        )
    return bundle.entropy_threshold


def check_classifiers(name: str, fitted_for: Sequence[str]) -> None:
    """
    Refuse meta classifiers of another score than the one in use.

    Parameters
    ----------
    name : str
        The score in use.
    fitted_for : sequence of str
        What each meta classifier says.

    """
    for one in fitted_for:
        if one != name:
            raise ValueError(
                f'meta classifier must be fitted for segments of score {name}, got one for '
                f'{one}. Set score to {one}, or fit one for {name}: meta-ood-train segments, then '
                'fit-meta.'
            )
