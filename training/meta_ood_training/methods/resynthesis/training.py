"""`train_resynthesis`: labelled street frames -> generator, discrepancy networks, ensemble."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
import hashlib
import json
from pathlib import Path
import time
from typing import Any

import cv2
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.files.image_file import write_image_file
from meta_ood_training.datasets import open_dataset, parse_dataset, SampleDataset
from meta_ood_training.datasets.registry import fits_classes
from meta_ood_training.methods.observer import Observer
from meta_ood_training.methods.resynthesis.ensemble import search_weights
from meta_ood_training.methods.resynthesis.examples import example_row, stacked
from meta_ood_training.methods.resynthesis.feature_levels import FeatureLevels
from meta_ood_training.methods.resynthesis.frames import ResynthesisFrames
from meta_ood_training.methods.resynthesis.generator import SpadeGenerator
from meta_ood_training.methods.resynthesis.settings import ResynthesisSettings
from meta_ood_training.methods.resynthesis.stages import (
    DiscrepancyPair,
    generator_loss,
    pair_loss,
    sample_scores,
    score_maps,
    SwappedFrames,
)
from meta_ood_training.methods.resynthesis.trained_files import (
    DESCRIPTION_FILE,
    PERCEPTUAL_SCALE,
    save_trained,
    SCALE,
    STATE_FILE,
    WEIGHTS,
)
from meta_ood_training.methods.resynthesis.training_steps import train
from meta_ood_training.output_places import check_free, hold_folder
from meta_ood_training.plain_arguments import as_tuple
from meta_ood_training.provenance.revision import machine, source_revision
from meta_ood_training.scores import measure_scores, ScoreHistogram
import numpy as np
import torch

GENERATOR_POINT, PAIR_POINT = 'generator.resume', 'discrepancy.resume'
EXAMPLES_FILE = 'examples.jpg'
_EXAMPLES = 6
_PIXELS_PER_FRAME = 5000
#: Steps of which the first and the last mean loss are taken.
_MEAN_OVER = 25


@dataclass(frozen=True, repr=False)
class ResynthesisResult:
    """
    What was trained.

    Attributes
    ----------
    folder : Path
        resynthesis.safetensors, resynthesis.json and examples.jpg.
    report : dict
        What resynthesis.json says: losses, AP on swapped selection frames, ensemble weights,
        settings, data, machine.
    minutes : float
        How long this process trained.

    """

    folder: Path
    report: dict[str, Any]
    minutes: float

    def __repr__(self) -> str:
        """Return the scores and the folder in a line."""
        scores = self.report['swapped_ap'].items()
        found = ', '.join(f'{name} {value:.3f}' for name, value in scores)
        return (
            f'ResynthesisResult(AP on swapped frames: {found}; {self.minutes:.1f} min, '
            f'in {self.folder})'
        )


def train_resynthesis(
    data: str | Sequence[str],
    select: str | Sequence[str],
    output: str | Path,
    *,
    bundle: Bundle | str | Path | None = None,
    void_data: str | Sequence[str] = (),
    settings: ResynthesisSettings | None = None,
    device: str = 'auto',
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = False,
    command: str = '',
) -> ResynthesisResult:
    """
    Train what the scores `resynthesis` and `synboost` need, for one bundle's network.

    Parameters
    ----------
    data : str or sequence of str
        Labelled street frames to train on, '[TITLE:]NAME=PATH': 'camvid_fit=data/camvid'.
    select : str or sequence of str
        Others on which the weights of the ensemble are searched.
    output : str or Path
        The run folder; it must not hold a run yet, unless this one goes on with it.
    bundle : Bundle, str or Path, optional
        Whose network is frozen beside them; the installed default where absent.
    void_data : str or sequence of str
        Titles of `data` and `select` whose void pixels stand for the unknown in the
        dissimilarity network and the ensemble, as in SynBoost.
    settings : ResynthesisSettings, optional
        Sizes, steps, seed.
    device : str
        'cpu', 'cuda', 'cuda:N' or 'auto'.
    resume : bool
        Goes on with the killed run in `output`.
    overwrite : bool
        Replaces what is there.
    progress : bool
        Whether a bar is shown.
    command : str
        What the files state as the command that made them.

    Returns
    -------
    ResynthesisResult
        Folder, report and time.

    Raises
    ------
    ValueError
        Data, bundle, settings or the folder are wrong.
    OSError
        Something is not there.

    """
    start, folder = time.monotonic(), Path(output)
    settings = settings or ResynthesisSettings()
    _check_place(folder, resume=resume, overwrite=overwrite)
    loaded = load_bundle(bundle)
    fit, chosen = (_open(one, loaded) for one in (data, select))
    voids = as_tuple(void_data, str)
    for title in voids:
        if title not in fit and title not in chosen:
            raise ValueError(
                f'--void must be the title of a data set, got {title!r}. Known: '
                f'{", ".join(dict.fromkeys((*fit, *chosen)))}.'
            )
    with hold_folder(folder):
        if not resume:
            for name in (DESCRIPTION_FILE, STATE_FILE, GENERATOR_POINT, PAIR_POINT, EXAMPLES_FILE):
                (folder / name).unlink(missing_ok=True)
        run = _Run(loaded, settings, fit, chosen, voids, device)
        report = run.train(folder, resume=resume, progress=progress)
        minutes = (time.monotonic() - start) / 60
        report |= {
            'data': [_without_place(one) for one in as_tuple(data, str)],
            'select': [_without_place(one) for one in as_tuple(select, str)],
            'void_data': list(voids),
            'command': command or 'meta_ood_training.train_resynthesis',
            'revision': source_revision(),
            'machine': machine(),
            'minutes_of_last_process': minutes,
        }
        save_trained(folder, run.state(), report)
        for name in (GENERATOR_POINT, PAIR_POINT):
            (folder / name).unlink(missing_ok=True)
    return ResynthesisResult(folder, report, minutes)


class _Run:
    """Networks and frames of one training."""

    def __init__(
        self,
        bundle: Bundle,
        settings: ResynthesisSettings,
        fit: dict[str, SampleDataset],
        select: dict[str, SampleDataset],
        void_data: Sequence[str],
        device: str,
    ) -> None:
        self.bundle, self.settings = bundle, settings
        observer = Observer.from_bundle(bundle, device=device)
        self.levels = FeatureLevels(observer.network, mean=bundle.input_mean, std=bundle.input_std)
        self.fit, self.select = (
            ResynthesisFrames(one, observer, void_data=void_data, scale=settings.scale)
            for one in (fit, select)
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.generator = SpadeGenerator(bundle.num_classes, width=settings.width)
            self.pair = DiscrepancyPair(self.levels.channels, bundle.num_classes)
        self.generator.to(observer.device)
        self.pair.to(observer.device)
        self.void_data = tuple(void_data)
        self.perceptual_scale, self.weights = 1.0, np.zeros(0, np.float32)

    def train(self, folder: Path, *, resume: bool, progress: bool) -> dict[str, Any]:
        """Train what is not trained yet, and return what is known then."""
        settings = self.settings
        options: dict[str, Any] = {
            'every': settings.resume_steps,
            'identity': self._identity(),
            'resume': resume,
            'progress': progress,
        }

        def loss_of_generator(step: int) -> torch.Tensor:
            frame, _ = self.fit.draw(step, settings.seed)
            return generator_loss(self.generator, self.levels, frame, settings.perceptual_weight)

        generator_losses = train(
            self.generator,
            loss_of_generator,
            folder / GENERATOR_POINT,
            steps=settings.generator_steps,
            rate=settings.generator_rate,
            **options,
        )
        self.generator.requires_grad_(False)
        classes = self._classes()
        fit, select = (
            SwappedFrames(one, self.levels, self.generator, settings, classes)
            for one in (self.fit, self.select)
        )
        self.perceptual_scale = fit.perceptual_scale()
        loss_of = pair_loss(fit, self.perceptual_scale)
        pair_losses = train(
            self.pair,
            lambda step: loss_of(self.pair, step),
            folder / PAIR_POINT,
            steps=settings.discrepancy_steps,
            rate=settings.discrepancy_rate,
            **options,
        )
        judged = self._choose_ensemble(select)
        self._draw_examples(select, folder)
        return {
            'network_sha256': self.bundle.network_sha256,
            'bundle': self.bundle.model_id,
            'settings': asdict(settings),
            'classes': classes,
            'losses': {'generator': _ends(generator_losses), 'discrepancy': _ends(pair_losses)},
            **judged,
        }

    def _identity(self) -> str:
        """Return what makes the numbers of the run, as a sum."""
        settings = {**asdict(self.settings), 'resume_steps': 0}
        made_of = [
            settings, self.bundle.network_sha256, self.bundle.work_short_side, self.fit.names(),
            self.void_data,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()

    def _classes(self) -> list[int]:
        """Return the classes of the frames that the generator has seen, or of 200 of them."""
        seen = np.zeros(256, bool)
        for step in range(min(self.settings.generator_steps, len(self.fit), 200)):
            frame, _ = self.fit.draw(step, self.settings.seed)
            seen[np.unique(frame.semantics)] = True
        return [int(one) for one in np.flatnonzero(seen)]

    def _choose_ensemble(self, select: SwappedFrames) -> dict[str, Any]:
        scores, is_ood = sample_scores(
            self.pair,
            select,
            self.perceptual_scale,
            self.settings.select_frames,
            _PIXELS_PER_FRAME,
        )
        if not 0 < is_ood.sum() < is_ood.size:
            raise ValueError(
                f'the ensemble needs swapped and other pixels of the selection data, got '
                f'{int(is_ood.sum())} of {is_ood.size}. Give more frames, or raise swap_share.'
            )
        self.weights, best = search_weights(scores[1:], is_ood, steps=self.settings.ensemble_steps)
        names = ('discrepancy', 'dissimilarity', 'entropy', 'distance', 'perceptual')
        found = {name: _ap(one, is_ood) for name, one in zip(names, scores, strict=True)}
        return {
            'ensemble_weights': dict(zip(names[1:], self.weights.tolist(), strict=True)),
            'perceptual_scale': self.perceptual_scale,
            'swapped_ap': {**found, 'ensemble': best, 'random': float(is_ood.mean())},
        }

    def _draw_examples(self, select: SwappedFrames, folder: Path) -> None:
        rows = []
        for number in range(min(_EXAMPLES, len(self.select))):
            frame = self.select[number]
            rng = np.random.default_rng((self.settings.seed, 2, number))
            comparison, _, swapped = select.compare(frame, rng)
            device = comparison.shares.device
            entropy, distance = (
                torch.from_numpy(one).to(device) for one in (frame.entropy, frame.distance)
            )
            maps = score_maps(self.pair, comparison, entropy, distance, self.perceptual_scale)
            rows.append(example_row(frame, swapped, comparison, maps, self.bundle.class_colors))
        picture = cv2.cvtColor(stacked(rows), cv2.COLOR_RGB2BGR)
        write_image_file(folder / EXAMPLES_FILE, picture, (cv2.IMWRITE_JPEG_QUALITY, 90))

    def state(self) -> dict[str, np.ndarray]:
        """Return everything that both scores need."""
        tensors = {
            **{f'generator.{key}': one for key, one in self.generator.state_dict().items()},
            **self.pair.state_dict(),
        }
        return {
            **{key: one.detach().cpu().numpy() for key, one in tensors.items()},
            SCALE: np.array([self.settings.scale], np.float32),
            PERCEPTUAL_SCALE: np.array([self.perceptual_scale], np.float32),
            WEIGHTS: self.weights,
        }


def _open(given: str | Sequence[str], bundle: Bundle) -> dict[str, SampleDataset]:
    """Return data sets by title, whose labels mean the classes of the network."""
    opened: dict[str, SampleDataset] = {}
    for title, name, path in map(parse_dataset, as_tuple(given, str)):
        if title in opened:
            raise ValueError(
                f'data sets must have different titles, got {title!r} twice. Name them with '
                'TITLE:NAME=PATH.'
            )
        if not fits_classes(name, bundle.class_names):
            raise ValueError(
                f'labels of {name} must mean the classes of {bundle.model_id}, got Cityscapes '
                'train ids. Take a folder with the classes of the network.'
            )
        opened[title] = open_dataset(
            name, path, num_classes=bundle.num_classes, class_names=bundle.class_names
        )
    if not any(len(one) for one in opened.values()):
        raise ValueError('resynthesis needs labelled street frames, got none. Give --data.')
    return opened


def _check_place(folder: Path, *, resume: bool, overwrite: bool) -> None:
    if not resume:
        check_free(folder, overwrite=overwrite)
        return
    if (folder / DESCRIPTION_FILE).exists():
        raise ValueError(f'--resume goes on with a killed run, got {folder}, which is finished.')
    if not (folder / GENERATOR_POINT).exists():
        raise ValueError(
            f'--resume goes on with a killed run, got {folder}, which has none. Leave it out.'
        )


def _without_place(text: str) -> str:
    title, name, _ = parse_dataset(text)
    return name if title == name else f'{title}:{name}'


def _ends(losses: Sequence[float]) -> dict[str, float]:
    return {
        'first': float(np.mean(losses[:_MEAN_OVER])),
        'last': float(np.mean(losses[-_MEAN_OVER:])),
        'steps': len(losses),
    }


def _ap(scores: np.ndarray, is_ood: np.ndarray) -> float:
    histogram = ScoreHistogram()
    histogram.update(scores, is_ood)
    return float(measure_scores(histogram.counts()).average_precision)
