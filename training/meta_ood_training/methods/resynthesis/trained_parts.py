"""Generator, discrepancy networks and ensemble weights of one run, trained one after the other."""

from collections.abc import Sequence
from dataclasses import asdict
import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.files.image_file import write_image_file
from meta_ood_training.datasets import SampleDataset
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
from meta_ood_training.methods.resynthesis.trained_files import PERCEPTUAL_SCALE, SCALE, WEIGHTS
from meta_ood_training.methods.resynthesis.training_steps import train
from meta_ood_training.scores import measure_scores, ScoreHistogram
import numpy as np
import torch

GENERATOR_POINT, PAIR_POINT = 'generator.resume', 'discrepancy.resume'
EXAMPLES_FILE = 'examples.jpg'
_EXAMPLES = 6
_PIXELS_PER_FRAME = 5000
#: Steps at most of which the first and the last mean loss are taken, else a quarter of all.
_MEAN_OVER = 25


class TrainedParts:
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


def _ends(losses: Sequence[float]) -> dict[str, float]:
    over = max(1, min(_MEAN_OVER, len(losses) // 4))
    return {
        'first': float(np.mean(losses[:over])),
        'last': float(np.mean(losses[-over:])),
        'steps': len(losses),
    }


def _ap(scores: np.ndarray, is_ood: np.ndarray) -> float:
    histogram = ScoreHistogram()
    histogram.update(scores, is_ood)
    return float(measure_scores(histogram.counts()).average_precision)
