"""Street data + OoD proxies -> the samples of one epoch, redrawn each epoch, fixed by the seed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from meta_ood_training.datasets.objects import CutOut, ObjectSource
from meta_ood_training.datasets.sample import OOD, Sample, SampleDataset
from meta_ood_training.finetuning.data.augmentation import (
    AugmentationSettings,
    crop_sample,
    cut_window,
    fit_window,
    jitter_light,
    sample_rng,
)
from meta_ood_training.finetuning.data.hard_negatives import (
    add_hard_negatives,
    HardNegativeSettings,
)
from meta_ood_training.finetuning.data.object_groups import paste_group
from meta_ood_training.finetuning.data.pasting import paste_object, PasteSettings
import numpy as np

_DRAW, _AUGMENT = 0, 1
MOST_KINDS = 4
"""Of objects in one group."""


@dataclass(frozen=True)
class MixingSettings:
    """
    How many proxies an epoch holds, and how often objects are pasted.

    Attributes
    ----------
    proxies_per_street_image : float
        0.1 in the paper: to 2,975 street images come 297 proxies, newly drawn each epoch.
    paste_probability : float
        Of pasting OoD objects on a street crop, in [0, 1]; 0 in the paper.
    max_objects : int
        Objects pasted on one crop at most, 1..max with equal chance.
    group_probability : float
        Of a group of small objects close together instead, where objects are pasted, in [0, 1]:
        what lies between them stays known, and a network that has never seen so fills it.
    control_probability : float
        Of pasting an in-distribution object with its own class label first, in [0, 1].

    """

    proxies_per_street_image: float = 0.1
    paste_probability: float = 0.0
    max_objects: int = 1
    group_probability: float = 0.0
    control_probability: float = 0.0

    def __post_init__(self) -> None:
        if self.proxies_per_street_image < 0:
            raise ValueError(
                f'proxies_per_street_image must not be negative, '
                f'got {self.proxies_per_street_image}.'
            )
        for name in ('paste_probability', 'group_probability', 'control_probability'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name} must lie in [0, 1], got {getattr(self, name)}.')
        if self.max_objects < 1:
            raise ValueError(f'max_objects must be at least 1, got {self.max_objects}.')


@dataclass(frozen=True)
class Draw:
    """Where a sample of an epoch comes from: which dataset, which of its samples."""

    is_proxy: bool
    dataset: int
    index: int


@dataclass(frozen=True, eq=False)
class MixedSamples:
    """
    All training samples of a run, by (epoch, position).

    Attributes
    ----------
    proxies : sequence of SampleDataset
        Whole OoD proxy images; an epoch draws from all of them together. May be empty.
    controls : sequence of (ObjectSource, int)
        In-distribution objects to paste with their class id. May be empty.
    street_short_sides : sequence of int
        Short side to which each street dataset counts as scaled before the augmentation's scale
        factor [px]; 0 is its own. Default 0 for all.
    street_repeats : sequence of float
        How often each street dataset appears in one epoch: 1 = every image once, 0.25 = a
        quarter, newly drawn, 2 = every image twice. Default 1 for all.

    Notes
    -----
    `samples[epoch, position]` needs no state, so workers may live through all epochs and a run
    may resume anywhere. `epoch_length` is the same in every epoch.

    """

    street: Sequence[SampleDataset]
    proxies: Sequence[SampleDataset] = ()
    objects: Sequence[ObjectSource] = ()
    controls: Sequence[tuple[ObjectSource, int]] = ()
    mixing: MixingSettings = field(default_factory=MixingSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    pasting: PasteSettings = field(default_factory=PasteSettings)
    hard_negatives: HardNegativeSettings = field(default_factory=HardNegativeSettings)
    street_short_sides: Sequence[int] | None = None
    street_repeats: Sequence[float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.street or not sum(len(dataset) for dataset in self.street):
            raise ValueError('street must hold at least one image, got none.')
        if self.street_repeats is not None and len(self.street_repeats) != len(self.street):
            raise ValueError(
                f'street_repeats must hold one number per street dataset ({len(self.street)}), '
                f'got {len(self.street_repeats)}.'
            )
        sides = self.street_short_sides
        if sides is not None and len(sides) != len(self.street):
            raise ValueError(
                f'street_short_sides must hold one number per street dataset '
                f'({len(self.street)}), got {len(sides)}.'
            )
        self._refuse_no_samples()
        if self.mixing.paste_probability > 0 and not self.objects:
            raise ValueError(
                'paste_probability above 0 needs objects to paste, got none. '
                'Give objects, or set it to 0.'
            )
        if self.mixing.control_probability > 0 and not self.controls:
            raise ValueError(
                'control_probability above 0 needs in-distribution objects, got none. '
                'Give controls, or set it to 0.'
            )

    def _refuse_no_samples(self) -> None:
        """Refuse shares that round to nothing: a source would not be trained on."""
        counts = zip(self.street, self.street_lengths, strict=True)
        for number, (dataset, count) in enumerate(counts):
            if len(dataset) and not count:
                repeat = self.street_repeats[number] if self.street_repeats else 1.0
                raise ValueError(
                    f'repeats of street dataset {number} must give a sample an epoch, got '
                    f'{repeat} of its {len(dataset)} images, which comes to 0. Raise them, or '
                    'leave it out.'
                )
        share = self.mixing.proxies_per_street_image
        if share and any(len(one) for one in self.proxies) and not self.proxy_length:
            raise ValueError(
                f'proxies_per_street_image must give a proxy an epoch, got {share} of '
                f'{self.street_length} street samples, which comes to 0. Raise it, or leave '
                'out proxies.'
            )

    @property
    def street_lengths(self) -> list[int]:
        """Samples of each street dataset in every epoch."""
        repeats = self.street_repeats or [1.0] * len(self.street)
        pairs = zip(self.street, repeats, strict=True)
        return [round(repeat * len(dataset)) for dataset, repeat in pairs]

    @property
    def street_length(self) -> int:
        """Street samples in every epoch."""
        return sum(self.street_lengths)

    @property
    def proxy_length(self) -> int:
        """Proxy samples in every epoch: int(share x street samples), as published."""
        available = sum(len(dataset) for dataset in self.proxies)
        return int(self.mixing.proxies_per_street_image * self.street_length) if available else 0

    @property
    def epoch_length(self) -> int:
        """Samples in every epoch."""
        return self.street_length + self.proxy_length

    def draws(self, epoch: int) -> tuple[Draw, ...]:
        """Return what one epoch holds, in its shuffled order."""
        return _draw_epoch(self, epoch)

    def __getitem__(self, place: tuple[int, int]) -> Sample:
        return self.with_clean(*place)[0]

    def with_clean(self, epoch: int, position: int) -> tuple[Sample, Sample]:
        """
        Return a training sample, and what a teacher sees of it.

        Returns
        -------
        clean : Sample
            The same crop without OoD objects, under its own light. Pasted in-distribution
            objects are there: else a teacher would judge them by what they cover.

        """
        draw = self.draws(epoch)[position]
        rng = sample_rng(self.seed, epoch, position, _AUGMENT)
        if draw.is_proxy:
            source = self.proxies[draw.dataset]
            clean = sample = crop_sample(source[draw.index], self.augmentation, rng)
        else:
            source = self.street[draw.dataset]
            side = self.street_short_sides[draw.dataset] if self.street_short_sides else 0
            window = cut_window(source[draw.index], self.augmentation, rng, short_side=side)
            # Objects are pasted before the window is scaled: otherwise they would be the only
            # sharp thing on an enlarged frame, and sharpness alone would tell them.
            wants_control, wants_object = rng.random(2)
            if wants_control < self.mixing.control_probability:
                window = self._paste_control(window, rng)
            clean = sample = fit_window(window, self.augmentation.crop)
            if wants_object < self.mixing.paste_probability:
                sample = fit_window(self._paste_objects(window, rng), self.augmentation.crop)
        if not draw.is_proxy:
            sample = add_hard_negatives(sample, self.hard_negatives, rng)
        image = jitter_light(sample.image, self.augmentation, rng)
        return Sample(image, sample.target, sample.name, sample.group), clean

    def __len__(self) -> int:
        return self.epoch_length

    def _paste_control(self, sample: Sample, rng: np.random.Generator) -> Sample:
        source, class_id = self.controls[int(rng.integers(len(self.controls)))]
        return paste_object(sample, _load_cut_out(source), self.pasting, rng, value=class_id)

    def _paste_objects(self, sample: Sample, rng: np.random.Generator) -> Sample:
        # Without the chance nothing is drawn, and earlier configurations keep their samples.
        chance = self.mixing.group_probability
        if chance and rng.random() < chance:
            alike = [self._draw_object(rng) for _ in range(int(rng.integers(1, MOST_KINDS + 1)))]
            return paste_group(sample, alike, self.pasting, rng)
        for _ in range(int(rng.integers(1, self.mixing.max_objects + 1))):
            sample = paste_object(sample, self._draw_object(rng), self.pasting, rng, value=OOD)
        return sample

    def _draw_object(self, rng: np.random.Generator) -> CutOut:
        return _load_cut_out(self.objects[int(rng.integers(len(self.objects)))])


@lru_cache(maxsize=4)
def _draw_epoch(samples: MixedSamples, epoch: int) -> tuple[Draw, ...]:
    """Draw one epoch; the two latest are asked for again and again by neighbouring positions."""
    rng = sample_rng(samples.seed, epoch, 0, _DRAW)
    draws: list[Draw] = []
    counts = zip(samples.street, samples.street_lengths, strict=True)
    for number, (dataset, count) in enumerate(counts):
        chosen = _draw_indices(len(dataset), count, rng)
        draws += [Draw(False, number, index) for index in chosen]
    at_hand = [
        Draw(True, number, index)
        for number, dataset in enumerate(samples.proxies)
        for index in range(len(dataset))
    ]
    draws += [at_hand[index] for index in _draw_indices(len(at_hand), samples.proxy_length, rng)]
    return tuple(draws[index] for index in rng.permutation(len(draws)))


def _draw_indices(available: int, wanted: int, rng: np.random.Generator) -> list[int]:
    """Draw without replacement; where more are wanted than there are, whole rounds first."""
    if not available:
        return []
    whole, rest = divmod(wanted, available)
    indices = list(range(available)) * whole
    return indices + rng.permutation(available)[:rest].tolist()


@lru_cache(maxsize=256)
def _load_cut_out(source: ObjectSource) -> CutOut:
    """Load an object; sources are few and small, so they stay in memory."""
    return source.load()
