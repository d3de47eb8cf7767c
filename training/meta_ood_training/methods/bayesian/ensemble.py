"""
Deep ensemble: Lakshminarayanan, Pritzel, Blundell, NeurIPS 2017, of bundles with the same classes.

Each network was trained from another start or in another order; where they disagree, none of them
was taught. Their softmax are averaged with equal weight.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.scorers import Scorer
from meta_ood_training.methods.bayesian.samples import (
    Answer,
    ENTROPY,
    measure_answers,
    MUTUAL_INFORMATION,
)
from meta_ood_training.methods.method import MethodNeedsError, Setup
from meta_ood_training.methods.observer import Observer
from meta_ood_training.methods.own_pass import next_device
import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class EnsembleScorer(Scorer):
    """
    Predictive entropy of several networks.

    Parameters
    ----------
    members : sequence of Observer
        The networks beside the one whose logits `score` is given.
    align_corners : bool
        How those logits are upsampled.

    """

    name: ClassVar[str] = 'ensemble_entropy'
    measure: ClassVar[str] = ENTROPY

    def __init__(self, members: Sequence[Observer], *, align_corners: bool) -> None:
        if not members:
            raise ValueError('an ensemble needs at least 1 network beside its first, got none.')
        self.members, self.align_corners = tuple(members), align_corners

    def score(
        self, image: NDArray[np.uint8], logits: Tensor, features: Tensor | None = None
    ) -> NDArray[np.float32]:
        """Return how far all networks together are from one certain class."""
        answers = [Answer(logits, self.align_corners)]
        for member in self.members:  # on the grid of its own stride next to that of the image
            own, _ = member.run(member.to_grid(image))
            answers.append(Answer(own.to(logits.device), member.network.align_corners))
        return self.checked(
            measure_answers(answers, (image.shape[0], image.shape[1]))[self.measure]
        )


class EnsembleInformationScorer(EnsembleScorer):
    """Mutual information of answer and network, of several networks."""

    name = 'ensemble_mutual_information'
    measure = MUTUAL_INFORMATION


def load_members(folder: Path, first: Bundle) -> list[Bundle]:
    """Return the bundles in the folders of a folder, but the one that is evaluated itself."""
    places = sorted(one.parent for one in folder.glob('*/bundle.yaml'))
    bundles = [load_bundle(one) for one in places]
    for place, one in zip(places, bundles, strict=True):
        if one.class_names != first.class_names:
            raise ValueError(
                f'members of an ensemble must know the {first.num_classes} classes of '
                f'{first.model_id}, got others in {place}. Take that bundle out of {folder}.'
            )
    members = {
        one.network_sha256: one for one in bundles if one.network_sha256 != first.network_sha256
    }
    if not members:
        raise MethodNeedsError(
            f'an ensemble needs at least 1 other bundle in a folder of {folder}, got '
            f'{len(bundles)} with the network of {first.model_id}. Train it with other seeds.'
        )
    return list(members.values())


def _observers(setup: Setup, name: str) -> list[Observer]:
    device = str(next_device(setup.network))
    return [
        Observer.from_bundle(one, work_short_side=0, device=device)
        for one in load_members(setup.artefact(name), setup.bundle)
    ]


def build_ensemble(setup: Setup) -> EnsembleScorer:
    """Return the scorer of the predictive entropy."""
    members = _observers(setup, EnsembleScorer.name)
    return EnsembleScorer(members, align_corners=setup.align_corners)


def build_ensemble_information(setup: Setup) -> EnsembleScorer:
    """Return the scorer of the mutual information."""
    members = _observers(setup, EnsembleInformationScorer.name)
    return EnsembleInformationScorer(members, align_corners=setup.align_corners)
