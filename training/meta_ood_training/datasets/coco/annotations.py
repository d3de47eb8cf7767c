"""COCO's instance annotation files -> images with their instances, checked."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
import json
from pathlib import Path
from typing import Any
import warnings

import cv2
from meta_ood_ros.core.files.image_file import AS_STORED, read_image_file
from meta_ood_training.datasets.coco.files import find_annotations, find_images
from meta_ood_training.datasets.coco.run_lengths import decode_segmentation, tidy_segmentation
from meta_ood_training.datasets.paired import read_image
import numpy as np

_TAGS = 65536
"""Bytes at the beginning of a file that hold its orientation tag, if any."""
_TRIED = 32
"""Images whose size is compared at once; the others' when they are read."""


@dataclass(frozen=True)
class CocoInstance:
    """One annotation: its category id, COCO segmentation, and whether it marks a crowd."""

    category: int
    segmentation: Any = field(repr=False)
    is_crowd: bool
    number: Any = None


@dataclass(frozen=True)
class CocoImage:
    """
    An image of the annotation file with its instances; size is (H, W).

    Attributes
    ----------
    skipped : int
        Annotations of it that cannot be used: what they mean to show is not known.

    """

    name: str
    path: Path
    size: tuple[int, int]
    instances: tuple[CocoInstance, ...] = field(repr=False)
    skipped: int = 0


@dataclass(frozen=True)
class CocoFile:
    """
    What an annotation file holds.

    Attributes
    ----------
    categories : mapping of int to (str, str)
        Name and supercategory by id; a category without one is its own.
    skipped : mapping of str to int
        Annotations that were left out, by reason.

    """

    path: Path
    categories: Mapping[int, tuple[str, str]]
    images: Sequence[CocoImage]
    skipped: Mapping[str, int]


def decode_instance(image: CocoImage, instance: CocoInstance) -> np.ndarray:
    """Return the mask of an instance, (H, W) bool; an error names the image."""
    try:
        return decode_segmentation(instance.segmentation, image.size)
    except ValueError as error:
        number = '' if instance.number is None else f' {instance.number}'
        raise ValueError(f'annotation{number} of {image.path.name}: {error}') from error


def read_coco_image(image: CocoImage) -> np.ndarray:
    """Return the pixels of an image, (H, W, 3) uint8 RGB, refused where its size is another."""
    pixels = read_image(image.path)
    require_size(pixels, image.size, image.path)
    require_unturned(pixels, image.path)
    return pixels


def require_unturned(pixels: np.ndarray, path: Path) -> None:
    """Refuse an image that its orientation tag turns within its size: a mask may be of either."""
    with path.open('rb') as stream:
        if b'Exif' not in stream.read(_TAGS):
            return
    stored = cv2.cvtColor(read_image_file(path, flags=AS_STORED), cv2.COLOR_BGR2RGB)
    if stored.shape == pixels.shape and not np.array_equal(stored, pixels):
        raise ValueError(
            f'{path} must be stored as it is shown, got an orientation tag (EXIF) that turns or '
            'mirrors it and keeps its size: nobody can tell which way its annotations were drawn. '
            'Save it again without the tag, turned as it was when it was annotated.'
        )


def require_size(pixels: np.ndarray, size: tuple[int, int], path: Path) -> None:
    """Refuse an image that is not what was annotated: a mask would show other pixels of it."""
    if pixels.shape[:2] != tuple(size):
        raise ValueError(
            f'{path} must have the {size[0]} x {size[1]} px that its annotations state, got '
            f'{pixels.shape[0]} x {pixels.shape[1]}. Take the images that were annotated, or '
            'scale the annotations with them.'
        )


def read_instances(root: Path, part: str) -> CocoFile:
    """
    Return the content of a COCO instance annotation file.

    Parameters
    ----------
    root : Path
        The file; or a folder that holds it as COCO does, or as its only .json.

    """
    path = find_annotations(root, part)
    reading = _Reading(path)
    try:
        content = json.loads(path.read_text(encoding='utf-8-sig'))
        categories = reading.categories(content['categories'])
        reading.instances(content['annotations'], categories, content['images'])
        entries = [_ImageEntry.read(entry) for entry in content['images']]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(
            f'{path} must hold COCO instance annotations (images, annotations, categories), got '
            f'{error!r}. Captions and keypoints files do not have them, nor has a file that was '
            'cut off: unpack it again.'
        ) from error
    places = find_images(root, part, path, [entry.file for entry in entries])
    stems = Counter(Path(entry.file).stem for entry in entries)
    images = []
    for entry, place in zip(entries, places, strict=True):
        stem = Path(entry.file).stem
        name = stem if stems[stem] == 1 else Path(entry.file).with_suffix('').as_posix()
        size = entry.size or read_image(place).shape[:2]
        images.append(
            CocoImage(
                name,
                place,
                (size[0], size[1]),
                tuple(reading.usable.get(entry.number, ())),
                reading.unusable[entry.number],
            )
        )
    reading.refuse_or_say()
    for image in images[:: max(1, len(images) // _TRIED)]:
        read_coco_image(image)
    images.sort(key=lambda image: image.name)
    return CocoFile(path, categories, images, dict(reading.skipped))


@dataclass(frozen=True)
class _ImageEntry:
    """What the file says of one image; a tool may leave out its size."""

    number: int
    file: str
    size: tuple[int, int] | None

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> '_ImageEntry':
        height, width = entry.get('height'), entry.get('width')
        size = (int(height), int(width)) if height and width else None
        # Some writers turn numbers into strings; ids are compared as numbers.
        return cls(int(entry['id']), str(entry['file_name']).replace('\\', '/'), size)


class _Reading:
    """Annotations that can be used, by image, and those that cannot, by reason."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.usable: dict[int, list[CocoInstance]] = {}
        self.unusable: Counter[int] = Counter()
        self.skipped: Counter[str] = Counter()
        self._first = ''

    def categories(self, entries: Sequence[Mapping[str, Any]]) -> dict[int, tuple[str, str]]:
        categories: dict[int, tuple[str, str]] = {}
        for entry in entries:
            name, number = entry['name'], int(entry['id'])
            if not isinstance(name, str) or not name:
                raise ValueError(
                    f'{self.path}: category {number} must have a name, got {name!r}. Name it.'
                )
            if number in categories and categories[number][0] != name:
                raise ValueError(
                    f'{self.path}: category {number} must be one, got {categories[number][0]!r} '
                    f'and {name!r}. Give each an id of its own.'
                )
            categories[number] = (name, str(entry.get('supercategory') or name))
        return categories

    def instances(
        self,
        entries: Sequence[Mapping[str, Any]],
        categories: Mapping[int, object],
        images: Sequence[Mapping[str, Any]],
    ) -> None:
        numbers = [int(image['id']) for image in images]
        doubled = [number for number, count in Counter(numbers).items() if count > 1]
        if doubled:
            raise ValueError(
                f'{self.path}: image {doubled[0]} must be one, got several of this id. Give each '
                'an id of its own.'
            )
        known = set(numbers)
        for place, entry in enumerate(entries):
            number = entry.get('id', f'no. {place + 1}')
            try:
                image, category = int(entry['image_id']), int(entry['category_id'])
                crowd = bool(int(entry.get('iscrowd') or 0))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f'{self.path}: annotation {number} must have image_id, category_id and '
                    f'iscrowd as numbers, got {error!r}. Export it again.'
                ) from error
            segmentation = None
            if image not in known:
                reason = 'an image that is not listed'
            elif category not in categories:
                reason = 'a category that is not listed'
            else:
                reason, segmentation = tidy_segmentation(entry.get('segmentation'))
            if reason:
                detail = f'category {category}' if 'category' in reason else f'image {image}'
                self._skip(number, reason, detail, image)
                continue
            self.usable.setdefault(image, []).append(
                CocoInstance(category, segmentation, crowd, number)
            )

    def _skip(self, number: object, reason: str, detail: str, image: int) -> None:
        self.skipped[reason] += 1
        self.unusable[image] += 1
        self._first = self._first or f'annotation {number} has {reason} ({detail})'

    def refuse_or_say(self) -> None:
        """Say what was skipped; refuse a file of which nothing is left."""
        if not self.skipped:
            return
        count = self.skipped.total()
        if not self.usable:
            raise ValueError(
                f'{self.path} must hold annotations with masks of its categories and images, got '
                f'{count} that cannot be used: {self._first}. Export polygons or run lengths, and '
                'all categories and images, from the tool that drew them.'
            )
        reasons = ', '.join(f'{number} with {one}' for one, number in self.skipped.items())
        warnings.warn(
            f'{self.path}: {count} annotations cannot be used and are left out ({reasons}); the '
            f'first: {self._first}.',
            stacklevel=3,
        )
