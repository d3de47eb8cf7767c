"""Config -> street sources, OoD proxies and objects, opened and checked."""

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import NoReturn

import cv2
from meta_ood_ros.core.classes import CITYSCAPES_NAMES
from meta_ood_training.datasets.camvid import CamVid
from meta_ood_training.datasets.classes_file import ClassTable
from meta_ood_training.datasets.coco import CocoOod
from meta_ood_training.datasets.coco.rules import (
    AUTHORS_EIGHT,
    CocoRules,
    informative_rules,
    KNOWN_CATEGORIES,
    known_names,
)
from meta_ood_training.datasets.ecssd import Ecssd
from meta_ood_training.datasets.idd_lite import allowed_table, COARSE_CLASSES, IddLite
from meta_ood_training.datasets.object_folder import find_folder_objects, open_object_folder
from meta_ood_training.datasets.objects import (
    find_coco_objects,
    find_ecssd_objects,
    find_street_objects,
    NEVER_PASTED,
    ObjectSource,
)
from meta_ood_training.datasets.paired import PairedImages
from meta_ood_training.datasets.registry import FOR_ANY_CLASSES, open_dataset
from meta_ood_training.datasets.sample import OOD, Sample, SampleDataset
from meta_ood_training.finetuning.config import FinetuneConfig, ProxyConfig, StreetConfig
from meta_ood_training.finetuning.data.augmentation import resize
from meta_ood_training.finetuning.data.label_sets import CAMVID_SETS, FACADE_SETS, label_sets
from meta_ood_training.finetuning.data.mixing import MixedSamples
from meta_ood_training.finetuning.data.scene_samples import SceneSamples
from meta_ood_training.finetuning.data.void import VoidAsOod
from meta_ood_training.finetuning.loop.starting_network import find_data
from meta_ood_training.finetuning.run_classes import are_cityscapes, find_run_classes
import numpy as np

LIVING_THINGS, VEHICLES = 2, 3


@dataclass(frozen=True, eq=False)
class StreetSource:
    """
    In-distribution images with what their labels mean.

    Attributes
    ----------
    allowed : ndarray of shape (256, C), bool
        Classes that each label value may stand for (see `label_sets`).
    short_side : int
        Scale from which the augmentation's factor counts [px]; 0 is the images' own.

    """

    samples: SampleDataset
    allowed: np.ndarray
    repeats: float
    short_side: int


def resize_sample(sample: Sample, size: tuple[int, int]) -> Sample:
    """Return a sample at another size."""
    target = cv2.resize(sample.target, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    return Sample(resize(sample.image, size), target, sample.name, sample.group)


def open_street(config: StreetConfig, data: Mapping[str, str], num_classes: int) -> StreetSource:
    """Return one street source."""
    if config.layout not in FOR_ANY_CLASSES and not are_cityscapes(None, num_classes):
        _refuse_train_ids(f'street of layout {config.layout}', num_classes, None)
    # Labels of other layouts are as fine as the classes are: each stands for itself.
    coarse = {'camvid': CAMVID_SETS, 'labelme': FACADE_SETS}
    sets = coarse.get(config.layout.split('_')[0])
    allowed = label_sets(num_classes, config.targets, sets)
    if config.layout == 'scenes':
        kept = find_data(config.data, data, use='scenes', makes=True) if config.data else None
        samples: SampleDataset = SceneSamples(
            config.count, ood_objects=config.ood_objects, folder=kept
        )
    elif config.layout in ('idd_lite', 'idd_lite_fit'):
        part = 'fit' if config.layout == 'idd_lite_fit' else 'all'
        dataset = IddLite(find_data(config.data, data, use='street'), part=part)
        samples = dataset
        if config.targets in ('consistent', 'cautious'):
            samples = dataset.with_coarse_targets()
            allowed = allowed_table()
            if config.targets == 'cautious':
                # Living things may be animals, vehicles may be carts: no train id names these.
                allowed[[LIVING_THINGS, VEHICLES]] = True
            # Coarse values end at 6; 7..18 come from pasted controls and are class ids.
            rest = slice(len(COARSE_CLASSES), num_classes)
            allowed[rest] = np.eye(num_classes, dtype=bool)[rest]
    else:
        root = find_data(config.data, data, use='street')
        samples = open_dataset(config.layout, root, num_classes=num_classes)
    if config.void == 'ood':
        samples = VoidAsOod(samples)
    return StreetSource(samples, allowed, config.repeats, config.short_side)


def open_proxies(
    config: ProxyConfig, data: Mapping[str, str], class_names: Sequence[str] = CITYSCAPES_NAMES
) -> SampleDataset:
    """Return whole OoD proxy images."""
    root = find_data(config.data, data, use='proxies')
    if config.layout != 'coco':
        opener: Callable[..., PairedImages] = Ecssd
        if config.layout == 'folder':
            opener = open_object_folder
        images = opener(root, split=config.split, background=config.background)
        low, high = config.shares
        if (low, high) == (0.0, 1.0):
            return images
        shares = {
            name: float((images[index].target == OOD).mean())
            for index, name in enumerate(images.names)
        }
        return images.select(lambda pair: low <= shares[pair.name] <= high)
    published = config.rules == 'published'
    least = 480 if published else 0
    known = known_names(class_names, AUTHORS_EIGHT if published else KNOWN_CATEGORIES)
    rules = CocoRules(
        excluded_categories=(*known, *config.known_categories),
        optional_categories=known,
        min_height=least,
        min_width=least,
        min_share=config.min_share,
        max_share=config.max_share,
        background=config.background,
    )
    if config.subset:
        rules = informative_rules(config.subset, rules)
    return CocoOod(root, rules=rules, split=config.split)


def open_objects(
    config: ProxyConfig, data: Mapping[str, str], class_names: Sequence[str] = CITYSCAPES_NAMES
) -> tuple[ObjectSource, ...]:
    """Return OoD objects to paste."""
    root = find_data(config.data, data, use='objects')
    if config.layout == 'coco':
        known = (*known_names(class_names, NEVER_PASTED), *config.known_categories)
        return find_coco_objects(root, split=config.split, known_categories=known)
    find = find_ecssd_objects if config.layout == 'ecssd' else find_folder_objects
    return find(root, split=config.split)


def open_samples(config: FinetuneConfig) -> tuple[MixedSamples, np.ndarray]:
    """
    Return all training samples of a run, and what their labels mean.

    Returns
    -------
    allowed : ndarray of shape (S + 1, 256, C), bool
        Label sets of the S street sources; the last is that of proxies, which only name classes.

    """
    classes = config.network.num_classes
    in_train_ids = {
        'controls': bool(config.controls),
        'a background of proxies': any(one.background != 'ignore' for one in config.proxies),
        'validation.camvid': config.validation is not None and bool(config.validation.camvid),
    }
    in_train_ids |= {
        f'street of layout {one.layout}': one.layout not in FOR_ANY_CLASSES
        for one in config.street
    }
    used = [use for use, is_used in in_train_ids.items() if is_used]
    if used and not are_cityscapes(None, classes):  # before anything is looked for
        _refuse_train_ids(used[0], classes, None)
    table = find_run_classes(config)
    if used and not are_cityscapes(table, classes):
        _refuse_train_ids(used[0], classes, table)
    names = CITYSCAPES_NAMES if table is None else table.names
    sources = [open_street(one, config.data, classes) for one in config.street]
    controls: tuple[tuple[ObjectSource, int], ...] = ()
    if config.controls:
        frames = CamVid(find_data(config.controls, config.data, use='controls'), 'fit')
        controls = find_street_objects(frames)
    proxies = [open_proxies(one, config.data, names) for one in config.proxies]
    objects = [open_objects(one, config.data, names) for one in config.objects]
    _refuse_empty('street', config.street, [source.samples for source in sources])
    _refuse_empty('proxies', config.proxies, proxies)
    _refuse_empty('objects', config.objects, objects)
    samples = MixedSamples(
        street=[source.samples for source in sources],
        proxies=proxies,
        objects=[found for one in objects for found in one],
        controls=controls,
        mixing=config.mixing,
        augmentation=config.augmentation,
        pasting=config.pasting,
        hard_negatives=config.hard_negatives,
        street_repeats=[source.repeats for source in sources],
        street_short_sides=[source.short_side for source in sources],
        seed=config.training.seed,
    )
    tables = [source.allowed for source in sources] + [label_sets(classes, 'labels')]
    return samples, np.stack(tables)


def _refuse_train_ids(use: str, num_classes: int, classes: ClassTable | None) -> NoReturn:
    """Refuse labels that would be taken for other classes, or for none."""
    expected = len(CITYSCAPES_NAMES)
    own = f' ({", ".join(classes.names[:5])}, ...)' if classes else ''
    raise ValueError(
        f'{use} has labels in Cityscapes train ids, for a network of {expected} classes, got '
        f'one of {num_classes}{own}. Give images with labels of its own classes as a folder '
        f'(layout: folder), or set network.num_classes to {expected}.'
    )


def _refuse_empty(
    use: str, configs: Sequence[StreetConfig | ProxyConfig], opened: Sequence[Sized]
) -> None:
    """Say which source has nothing to train on, instead of a run that goes without it."""
    for config, samples in zip(configs, opened, strict=True):
        if not len(samples):
            raise ValueError(
                f'{use} must hold images, got none that fit {config}. Leave this source out, or '
                'correct its split and shares.'
            )
