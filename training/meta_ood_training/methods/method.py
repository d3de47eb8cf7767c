"""What a method is: its paper, what it needs, how its scorer is made."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.networks import OodNetwork
from meta_ood_ros.core.scorers import Scorer
from meta_ood_training.methods.observation import Observation


class MethodNeedsError(ValueError):
    """A method that cannot run here; the message says what it needs and how to get it."""


@dataclass(frozen=True, eq=False)
class Setup:
    """
    What a method may use to make its scorer.

    Attributes
    ----------
    bundle : Bundle
        Classes, input mean and standard deviation, and the network's weights.
    network : OodNetwork
        The network that runs, on the device, in eval mode, with normalisations folded; a method
        that changes it copies it.
    observations : callable or None
        Each call walks the labelled frames to fit on anew, in one order; None where none are
        given. A method never uses their OOD pixels unless it says so.
    artefacts : mapping of str to Path
        Folder or file of what was trained or fitted before, by name of the method.
    seed : int
        Of whatever is drawn.

    """

    bundle: Bundle
    network: OodNetwork
    observations: Callable[[], Iterator[Observation]] | None = None
    artefacts: Mapping[str, Path] = field(default_factory=dict)
    seed: int = 0

    @property
    def align_corners(self) -> bool:
        """Return how the logits are upsampled."""
        return self.network.align_corners

    def walk(self, method: str) -> Iterator[Observation]:
        """
        Walk the labelled frames, or say that a method needs them.

        Parameters
        ----------
        method : str
            Who asks.

        Yields
        ------
        Observation

        """
        if self.observations is None:
            raise MethodNeedsError(
                f'{method} is fitted on labelled in-distribution frames, got none. '
                'Give them with --fit-data NAME=PATH.'
            )
        return self.observations()

    def artefact(self, method: str) -> Path:
        """
        Return where that of a method lies, or say how to give it.

        Parameters
        ----------
        method : str
            Who asks.

        Returns
        -------
        Path

        """
        if method not in self.artefacts:
            raise MethodNeedsError(
                f'{method} needs what was trained for it, got nothing. '
                f'Give it with --artefact {method}=PATH.'
            )
        path = self.artefacts[method]
        if not path.exists():
            raise MethodNeedsError(
                f'{method} needs what was trained for it, got {path}, which does not exist. '
                f'Correct --artefact {method}=PATH.'
            )
        return path


@dataclass(frozen=True)
class Method:
    """
    One way to score pixels.

    Attributes
    ----------
    name : str
        As in tables and on the command line.
    paper : str
        Where it is from, short: 'Hendrycks and Gimpel, ICLR 2017'.
    summary : str
        What the score is, in a line.
    build : callable
        Setup -> Scorer; fits what it fits. Raises MethodNeedsError where it cannot run.
    is_fitted : bool
        Whether it needs labelled in-distribution frames.
    retrains : bool
        Whether it needs another training of the segmentation.
    uses_ood_data : bool
        Whether OoD data is used in training or fitting.
    is_served : bool
        Whether a bundle can carry it, and the node serve it.
    load_network : callable or None
        Setup -> OodNetwork, of a method whose network is another than the bundle's: logits,
        features and mean IoU are then that network's. Outputs beyond the classes of the bundle
        are the method's own.

    """

    name: str
    paper: str
    summary: str
    build: Callable[[Setup], Scorer]
    is_fitted: bool = False
    retrains: bool = False
    uses_ood_data: bool = False
    is_served: bool = False
    load_network: Callable[[Setup], OodNetwork] | None = None
