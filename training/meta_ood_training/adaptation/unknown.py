"""Objects that the network shall not know: for training, for the filter and for the judgement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from meta_ood_ros.core.classes import CITYSCAPES_NAMES
from meta_ood_ros.core.files.image_file import write_image_file
from meta_ood_ros.core.files.whole_folders import replace_folder
from meta_ood_ros.scenes.unknown import random_unknown
from meta_ood_training.datasets.coco.rules import known_names
from meta_ood_training.datasets.object_folder import find_folder_objects
from meta_ood_training.datasets.objects import (
    find_coco_objects,
    find_ecssd_objects,
    NEVER_PASTED,
    ObjectSource,
)
from meta_ood_training.datasets.registry import parse_dataset
from meta_ood_training.datasets.sources import SPLITS
from meta_ood_training.finetuning.config import ProxyConfig
from meta_ood_training.plain_arguments import check_choice
import numpy as np

LAYOUTS = ('folder', 'coco', 'ecssd')
RENDERED = {'train': 160, 'test': 60}
"""How many are drawn where none are given, of the families for training and for testing."""
_LEAST_SOURCES = 2
_LONGEST_SIDE = 240


@dataclass(frozen=True, eq=False)
class UnknownObjects:
    """
    Three sets of objects of different source images.

    Attributes
    ----------
    configs : tuple of ProxyConfig
        What training pastes.
    data : dict of str to str
        Where it lies.
    meta, judge : tuple of ObjectSource
        What is pasted on the stretches that fit the filter, and that judge.
    words : str
        What they are, for the report.

    """

    configs: tuple[ProxyConfig, ...]
    data: dict[str, str]
    meta: tuple[ObjectSource, ...]
    judge: tuple[ObjectSource, ...]
    words: str


def open_unknown(
    texts: Sequence[str],
    rendered: Path,
    *,
    seed: int,
    class_names: Sequence[str] = CITYSCAPES_NAMES,
) -> UnknownObjects:
    """
    Return the objects to paste, drawn into the folder `rendered` where none are given.

    Raises
    ------
    ValueError
        An unknown layout, or too few source images for one of the three sets.

    """
    if not texts:
        return _open_rendered(rendered, seed)
    configs, data = [], {}
    meta: list[ObjectSource] = []
    judge: list[ObjectSource] = []
    training = 0
    for number, text in enumerate(texts):
        _, layout, path = parse_dataset(text)
        check_choice('--objects', layout, LAYOUTS)
        name = f'objects_{number}'
        data[name] = str(path)
        config = ProxyConfig(layout, name)  # type: ignore[arg-type]
        configs.append(config)
        of = {one: _find(layout, path, one, class_names) for one in SPLITS}
        training += len(of['train'])
        if of['test']:
            meta += of['select']
            judge += of['test']
        else:  # a folder of one's own has no share for tests: half of the select sources each
            groups = sorted({one.group for one in of['select']})
            half = set(groups[::2])
            meta += [one for one in of['select'] if one.group in half]
            judge += [one for one in of['select'] if one.group not in half]
    counts = {'the filter': meta, 'the judgement': judge}
    for use, found in counts.items():
        sources = len({one.group for one in found})
        if sources < _LEAST_SOURCES or not training:
            raise ValueError(
                f'--objects must hold source images for training and {_LEAST_SOURCES} for {use}, '
                f'got {training} objects and {sources} images. They are shared out by name: add '
                'more, or leave --objects out for rendered ones.'
            )
    return UnknownObjects(
        tuple(configs), data, tuple(meta), tuple(judge), ', '.join(_first(one) for one in texts)
    )


def _first(text: str) -> str:
    return text.partition('=')[0]


def _find(
    layout: str, path: Path, split: str, class_names: Sequence[str]
) -> tuple[ObjectSource, ...]:
    if layout == 'coco':
        known = known_names(class_names, NEVER_PASTED)
        return find_coco_objects(path, split=split, known_categories=known)
    find = find_ecssd_objects if layout == 'ecssd' else find_folder_objects
    return find(path, split=split)


def _open_rendered(folder: Path, seed: int) -> UnknownObjects:
    if not folder.is_dir():
        with replace_folder(folder) as made:
            _draw(made, seed)
    data = {'objects_0': str(folder / 'train')}
    return UnknownObjects(
        (ProxyConfig('folder', 'objects_0'),),
        data,
        find_folder_objects(folder / 'train', split='select'),
        find_folder_objects(folder / 'test', split='all'),
        'rendered (families of shapes for the judgement that training never draws)',
    )


def _draw(folder: Path, seed: int) -> None:
    """Write rendered unknown things as cut-outs with an alpha channel."""
    for number, (split, count) in enumerate(RENDERED.items()):
        (folder / split).mkdir(parents=True)
        rng = np.random.default_rng((seed, number))
        for index in range(count):
            family, sprite, _, _ = random_unknown(rng, split, float(rng.uniform(0.2, 1.0)))
            alpha = np.clip(255 * sprite.alpha, 0, 255)
            pixels = np.dstack([np.clip(sprite.rgb[..., ::-1], 0, 255), alpha]).astype(np.uint8)
            scale = _LONGEST_SIDE / max(pixels.shape[:2])
            size = [max(round(side * scale), 1) for side in pixels.shape[1::-1]]
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
            pixels = np.pad(pixels, ((2, 2), (2, 2), (0, 0)))  # a box would fill its picture
            write_image_file(folder / split / f'{family}_{index:03d}.png', pixels)
