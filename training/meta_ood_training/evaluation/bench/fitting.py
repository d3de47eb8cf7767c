"""Labelled frames to fit on -> the methods that can run, and why others cannot."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.networks import OnnxNetwork, OodNetwork
from meta_ood_ros.core.scorers import Scorer
from meta_ood_training.datasets import SampleDataset
from meta_ood_training.methods import Method, MethodNeedsError, Observation, Observer, Setup
import numpy as np

#: Bytes of observations that are kept between two walks; what is beyond is computed again.
KEPT_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class View:
    """
    A network, and the methods that look at images through it.

    Attributes
    ----------
    observer : Observer
        Runs it.
    scorers : dict of str to Scorer
        By name of the method.

    """

    observer: Observer
    scorers: dict[str, Scorer]

    @property
    def needs_features(self) -> bool:
        """Return whether a scorer of it looks at features."""
        return any(one.uses_features for one in self.scorers.values())


class FitFrames:
    """The labelled frames to fit on, walked as often as a method wants, in one order."""

    def __init__(
        self, observer: Observer, datasets: Sequence[SampleDataset], *, limit: int
    ) -> None:
        self._observer = observer
        self._frames = [
            (dataset, index) for dataset in datasets for index in spread(len(dataset), limit)
        ]
        self._kept: list[Observation] = []
        self._is_full = False
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    def __call__(self) -> Iterator[Observation]:
        """Walk the frames; the first ones are kept in memory."""
        start = len(self._kept)
        with_features = not isinstance(self._observer.network, OnnxNetwork)
        rest = chain.from_iterable(
            self._observer.walk(dataset, [index], with_features=with_features)
            for dataset, index in self._frames[start:]
        )
        yield from self._kept[:start]
        for place, one in enumerate(rest, start):
            if not self._is_full and place == len(self._kept):
                self._keep(one)
            yield one

    def _keep(self, one: Observation) -> None:
        tensors = [one.logits] + ([] if one.features is None else [one.features])
        self._bytes += sum(tensor.nbytes for tensor in tensors) + one.image.nbytes
        self._is_full = self._bytes > KEPT_BYTES
        if not self._is_full:
            self._kept.append(one)


def spread(length: int, limit: int) -> list[int]:
    """Return at most `limit` numbers below a length, evenly spread; all where the limit is 0."""
    if not limit or limit >= length:
        return list(range(length))
    return [int(one) for one in (np.arange(limit) + 0.5) * length / limit]


def prepare(
    bundle: Bundle,
    methods: Sequence[Method],
    observe: Callable[[OodNetwork | None], Observer],
    *,
    fit_data: Sequence[SampleDataset],
    fit_limit: int,
    artefacts: Mapping[str, Path],
    seed: int,
    say: Callable[[str], None] = lambda sentence: None,
) -> tuple[list[View], dict[str, str]]:
    """
    Build the methods for one bundle.

    Parameters
    ----------
    observe : callable
        Network, or None for the bundle's -> Observer.
    say : callable
        Is told what is being fitted.

    Returns
    -------
    views : list of View
        The bundle's network first, then those of methods that have another.
    missing : dict of str to str
        Methods that cannot run here -> why.

    """
    own = observe(None)
    frames = FitFrames(own, fit_data, limit=fit_limit)
    setup = Setup(bundle, own.network, frames if len(frames) else None, artefacts, seed)
    views, missing = [View(own, {})], dict[str, str]()
    for method in methods:
        say(f'{method.name} of {bundle.name}')
        try:
            view = views[0]
            of_method = setup
            if method.load_network is not None:
                view = View(observe(method.load_network(setup)), {})
                other = FitFrames(view.observer, fit_data, limit=fit_limit)
                of_method = Setup(
                    bundle, view.observer.network, other if len(other) else None, artefacts, seed
                )
            view.scorers[method.name] = method.build(of_method)
        except (MethodNeedsError, ValueError, OSError) as error:
            missing[method.name] = str(error)
            continue
        if view is not views[0]:
            views.append(view)
    return views, missing


def find_artefacts(
    fitted: Path | None, given: Sequence[str], names: Sequence[str]
) -> dict[str, Path]:
    """
    Return where what was fitted or trained before lies, by name of the method.

    Parameters
    ----------
    fitted : Path or None
        Folder that holds `<method>` or `<method>.safetensors` of some.
    given : sequence of str
        'METHOD=PATH', which go before.
    names : sequence of str
        All methods.

    """
    found = {}
    if fitted is not None:
        if not fitted.is_dir():
            raise ValueError(f'--fitted must be a folder, got {fitted}. Fit with fit-score.')
        for name in names:
            for place in (fitted / name, fitted / f'{name}.safetensors'):
                if place.exists():
                    found[name] = place
                    break
    for text in given:
        name, equals, path = text.partition('=')
        if not equals or name not in names:
            raise ValueError(
                f'--artefact must be METHOD=PATH with a method of --list-methods, got {text!r}.'
            )
        found[name] = Path(path).expanduser()
    return found


def check_apart(
    fit_data: Mapping[str, tuple[Path, SampleDataset]],
    judged: Mapping[str, tuple[Path, SampleDataset]],
) -> None:
    """Refuse to fit on frames that are judged: of one folder, and of one name."""
    for fit_title, (fit_path, fitted) in fit_data.items():
        for title, (path, dataset) in judged.items():
            if fit_path.resolve() != path.resolve():
                continue
            same = set(fitted.names) & set(dataset.names)
            if same:
                raise ValueError(
                    f'--fit-data must hold no frame that is judged, got {len(same)} of '
                    f'{fit_title} in {title}, such as {min(same)}. Fit on the training part.'
                )
