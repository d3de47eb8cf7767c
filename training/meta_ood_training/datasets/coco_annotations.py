"""COCO's instance annotation files -> images with their instances, checked."""

from dataclasses import dataclass, field
import json
from pathlib import Path
from typing import Any

from meta_ood_training.datasets.paired import require_folder
from meta_ood_training.datasets.run_lengths import decode_segmentation
import numpy as np


@dataclass(frozen=True)
class CocoInstance:
    """One annotation: its category id, COCO segmentation, and whether it marks a crowd."""

    category: int
    segmentation: Any = field(repr=False)
    is_crowd: bool


@dataclass(frozen=True)
class CocoImage:
    """An image of the annotation file with its instances; size is (H, W)."""

    name: str
    path: Path
    size: tuple[int, int]
    instances: tuple[CocoInstance, ...] = field(repr=False)


def decode_instance(image: CocoImage, instance: CocoInstance) -> np.ndarray:
    """Return the mask of an instance, (H, W) bool; an error names the image."""
    try:
        return decode_segmentation(instance.segmentation, image.size)
    except ValueError as error:
        raise ValueError(f'annotation of {image.path.name}: {error}') from error


def read_instances(root: Path, part: str) -> tuple[dict[int, tuple[str, str]], list[CocoImage]]:
    """Return the content of a COCO instance annotation file."""
    folder = require_folder(root / part, 'COCO', 'images')
    path = root / 'annotations' / f'instances_{part}.json'
    if not path.is_file():
        raise FileNotFoundError(
            f'COCO expects {path}, got no such file. Unpack annotations_trainval2017.zip there.'
        )
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        categories = {
            int(entry['id']): (entry['name'], entry['supercategory'])
            for entry in content['categories']
        }
        instances: dict[int, list[CocoInstance]] = {}
        for entry in content['annotations']:
            # Some writers turn numbers into strings; ids are compared as numbers.
            instance = CocoInstance(
                int(entry['category_id']),
                entry['segmentation'],
                bool(int(entry.get('iscrowd', 0))),
            )
            instances.setdefault(int(entry['image_id']), []).append(instance)
        images = [
            CocoImage(
                Path(entry['file_name']).stem,
                folder / entry['file_name'],
                (int(entry['height']), int(entry['width'])),
                tuple(instances.get(int(entry['id']), ())),
            )
            for entry in content['images']
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{path} must hold COCO instance annotations (images, annotations, categories), got '
            f'{error!r}. Captions and keypoints files do not have them, nor has a file that was '
            'cut off: unpack it again.'
        ) from error
    lacking = [image.path.name for image in images if not image.path.is_file()]
    if lacking:
        raise FileNotFoundError(
            f'COCO expects the {len(images)} images of {path.name} in {folder}, got '
            f'{len(lacking)} less: {", ".join(lacking[:3])}. Unpack {part}.zip again.'
        )
    return categories, sorted(images, key=lambda image: image.name)
