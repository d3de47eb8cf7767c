"""Source images -> single objects to paste: cut-outs that are whole and large enough."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
from meta_ood_training.datasets.coco.annotations import (
    decode_instance,
    read_instances,
    require_size,
    require_unturned,
)
from meta_ood_training.datasets.coco.rules import KNOWN_CATEGORIES, same_case
from meta_ood_training.datasets.coco.run_lengths import decode_segmentation, encode_mask
from meta_ood_training.datasets.ecssd import Ecssd
from meta_ood_training.datasets.label_image import read_label
from meta_ood_training.datasets.paired import PairedImages, read_image
from meta_ood_training.datasets.sources import in_split
import numpy as np

NEVER_PASTED = (*KNOWN_CATEGORIES, 'potted plant')
"""COCO categories that a network with Cityscapes' classes knows; a pot of leaves is vegetation."""
MIN_AREA = 900
"""Pixels of the smallest object worth pasting: objects are only ever downscaled."""
MIN_SOLIDITY = 0.5
"""Least share of the largest connected part: below it the object is torn by what hides it."""


@dataclass(frozen=True, eq=False)
class CutOut:
    """
    One object, cropped to its box.

    Attributes
    ----------
    image : ndarray of shape (h, w, 3), uint8
        RGB; pixels beside the mask show the object's own surroundings.
    mask : ndarray of shape (h, w), bool
        The object.
    corner : tuple of int
        (row, column) of the box's upper left pixel in the source image.

    """

    image: np.ndarray
    mask: np.ndarray
    corner: tuple[int, int] = (0, 0)


@dataclass(frozen=True, eq=False)
class ObjectSource:
    """
    An object that can be cut out of its source image.

    Attributes
    ----------
    name : str
        <group>, or <group>/<number> where the image holds several.
    group : str
        <dataset>/<source image>: what splits and folds keep together.
    category : str
        COCO category, class name of a street object, or `object`.
    image : Path
        Source image.
    segmentation : object
        COCO segmentation, or path of a mask image.
    size : tuple of int
        (H, W) of the source image.
    area : int
        Pixels of the object in the source image.
    box : tuple of int
        (height, width) of its bounding box there.

    """

    name: str
    group: str
    category: str
    image: Path
    segmentation: Any = field(repr=False)
    size: tuple[int, int]
    area: int
    box: tuple[int, int]

    def load(self) -> CutOut:
        """
        Return the object's pixels.

        Returns
        -------
        CutOut

        """
        mask = _largest_part(_whole_mask(self.segmentation, self.size))
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        box = slice(y, y + height), slice(x, x + width)
        image = read_image(self.image)
        require_size(image, self.size, self.image)
        if not isinstance(self.segmentation, Path):
            require_unturned(image, self.image)
        return CutOut(image[box], mask[box], (y, x))


def find_ecssd_objects(
    root: str | Path, *, split: str = 'all', min_area: int = MIN_AREA
) -> tuple[ObjectSource, ...]:
    """
    Return the objects of ECSSD that can be pasted.

    Parameters
    ----------
    root : str or Path
        See `Ecssd`.
    split : str
        `all`, `train`, `select` or `test` by source image.
    min_area : int
        Smaller objects are left out [px].

    Returns
    -------
    tuple of ObjectSource
        Without those that their image's border cuts.

    """
    return find_masked_objects(Ecssd(root, split=split), min_area)


def find_masked_objects(images: PairedImages, min_area: int) -> tuple[ObjectSource, ...]:
    """Return the objects of photographs with one mask each, without those that a border cuts."""
    found = []
    for pair in images.pairs:
        mask = read_label(pair.label) > 0
        if is_whole(mask, min_area):
            found.append(to_source(pair.group, pair.group, 'object', pair.image, pair.label, mask))
    return tuple(found)


def find_coco_objects(
    root: str | Path,
    part: str = 'train2017',
    *,
    split: str = 'all',
    min_area: int = MIN_AREA,
    known_categories: Sequence[str] = NEVER_PASTED,
) -> tuple[ObjectSource, ...]:
    """
    Return the instances of COCO that can be pasted.

    Parameters
    ----------
    root, part : str or Path, str
        See `CocoOod`.
    split : str
        `all`, `train`, `select` or `test` by source image.
    min_area : int
        Smaller objects are left out [px].
    known_categories : sequence of str
        Instances of these are left out; other instances of the same image are not, because only
        the object itself is pasted.

    Returns
    -------
    tuple of ObjectSource
        Without crowds and without those that their image's border cuts.

    """
    content = read_instances(Path(root), part)
    known = {same_case(name) for name in known_categories}
    found = []
    for image in content.images:
        if not in_split('coco', image.name, split):
            continue
        group = f'coco/{image.name}'
        for number, instance in enumerate(image.instances):
            category = content.categories[instance.category][0]
            if same_case(category) in known or instance.is_crowd:
                continue
            mask = decode_instance(image, instance)
            if is_whole(mask, min_area):
                name = f'{group}/{number}'
                found.append(
                    to_source(name, group, category, image.path, instance.segmentation, mask)
                )
    return tuple(found)


STREET_OBJECTS = {'car': 13, 'person': 11, 'bicycle': 18}
"""In-distribution objects that serve as controls, with their train ids."""
OCCLUDERS = (4, 5, 7, 11, 12, 13, 14, 15, 16, 17, 18)
"""Train ids that may stand in front of an object: fence, pole, sign, people, vehicles."""
MAX_OCCLUDED = 0.1
"""Largest share of an object's outline that may border on occluders."""
MIN_CONVEXITY = {'car': 0.8, 'person': 0.6, 'bicycle': 0.6}
"""Least area as a share of the convex hull: merged or half-hidden objects fall below."""


def find_street_objects(
    dataset: PairedImages, *, min_area: int = 200
) -> tuple[tuple[ObjectSource, int], ...]:
    """
    Return the in-distribution objects of a labelled street data set that can be pasted.

    Parameters
    ----------
    dataset : PairedImages
        Targets hold Cityscapes train ids.
    min_area : int
        Smaller objects are left out [px].

    Returns
    -------
    tuple of (ObjectSource, int)
        Object and train id; cars, people and bicycles that neither the image's border nor
        another object cuts. The group is the frame's.

    """
    found = []
    for index, pair in enumerate(dataset.pairs):
        target = dataset[index].target
        for category, train_id in STREET_OBJECTS.items():
            count, labels, statistics, _ = cv2.connectedComponentsWithStats(
                (target == train_id).astype(np.uint8)
            )
            for number in range(1, count):
                if statistics[number, cv2.CC_STAT_AREA] < min_area:
                    continue
                mask = labels == number
                if is_whole(mask, min_area) and _is_free(mask, target, train_id, category):
                    name = f'{pair.name}/{category}/{number}'
                    source = to_source(
                        name, pair.group, category, pair.image, encode_mask(mask), mask
                    )
                    found.append((source, train_id))
    return tuple(found)


def _is_free(mask: np.ndarray, target: np.ndarray, train_id: int, category: str) -> bool:
    """Tell an object in full view from one that others hide or that is several."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.concatenate(contours)), 1)
    if mask.sum() < MIN_CONVEXITY[category] * hull.sum():
        return False
    outline = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~mask
    around = target[outline]
    occluded = np.isin(around, OCCLUDERS) & (around != train_id)
    return bool(occluded.mean() <= MAX_OCCLUDED)


def is_whole(mask: np.ndarray, min_area: int = MIN_AREA) -> bool:
    """
    Return whether a mask shows one object that is large enough and not cut by the border.

    Parameters
    ----------
    mask : ndarray of shape (H, W), bool
        The object in its source image.

    """
    if mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any():
        return False
    return is_connected(mask, min_area)


def is_connected(mask: np.ndarray, min_area: int = MIN_AREA) -> bool:
    """Return whether a mask shows one object that is large enough."""
    if mask.sum() < min_area:
        return False
    return bool(_largest_part(mask).sum() >= MIN_SOLIDITY * mask.sum())


def to_source(
    name: str, group: str, category: str, image: Path, segmentation: Any, mask: np.ndarray
) -> ObjectSource:
    """Describe the largest part of a mask."""
    part = _largest_part(mask)
    _, _, columns, rows = cv2.boundingRect(part.astype(np.uint8))
    size = (mask.shape[0], mask.shape[1])
    return ObjectSource(
        name, group, category, image, segmentation, size, int(part.sum()), (rows, columns)
    )


def _whole_mask(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    if isinstance(segmentation, Path):
        return read_label(segmentation) > 0
    return decode_segmentation(segmentation, size)


def _largest_part(mask: np.ndarray) -> np.ndarray:
    """Keep the largest 8-connected part."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count <= 2:
        return mask
    return labels == 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))
