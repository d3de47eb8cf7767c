"""Source images -> single OoD objects to paste: cut-outs that are whole and large enough."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
from meta_ood_training.datasets.coco import KNOWN_CATEGORIES, read_instances
from meta_ood_training.datasets.ecssd import Ecssd
from meta_ood_training.datasets.paired import read_image, read_label
from meta_ood_training.datasets.run_lengths import decode_segmentation
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

    """

    image: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
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
        COCO category, or `object`.
    image : Path
        Source image.
    segmentation : object
        COCO segmentation, or path of a mask image.
    size : tuple of int
        (H, W) of the source image.
    area : int
        Pixels of the object in the source image.

    """

    name: str
    group: str
    category: str
    image: Path
    segmentation: Any = field(repr=False)
    size: tuple[int, int]
    area: int

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
        return CutOut(read_image(self.image)[box], mask[box])


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
    found = []
    for pair in Ecssd(root, split=split).pairs:
        mask = read_label(pair.label) > 0
        if is_whole(mask, min_area):
            area = int(_largest_part(mask).sum())
            found.append(
                ObjectSource(
                    pair.group, pair.group, 'object', pair.image, pair.label, mask.shape, area
                )
            )
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
    categories, images = read_instances(Path(root), part)
    found = []
    for image in images:
        if not in_split('coco', image.name, split):
            continue
        group = f'coco/{image.name}'
        for number, instance in enumerate(image.instances):
            category = categories[instance.category][0]
            if category in known_categories or instance.is_crowd:
                continue
            mask = decode_segmentation(instance.segmentation, image.size)
            if is_whole(mask, min_area):
                area = int(_largest_part(mask).sum())
                found.append(
                    ObjectSource(
                        f'{group}/{number}',
                        group,
                        category,
                        image.path,
                        instance.segmentation,
                        image.size,
                        area,
                    )
                )
    return tuple(found)


def is_whole(mask: np.ndarray, min_area: int = MIN_AREA) -> bool:
    """
    Return whether a mask shows one object that is large enough and not cut by the border.

    Parameters
    ----------
    mask : ndarray of shape (H, W), bool
        The object in its source image.
    min_area : int
        Least number of pixels.

    Returns
    -------
    bool

    """
    if mask.sum() < min_area:
        return False
    if mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any():
        return False
    return bool(_largest_part(mask).sum() >= MIN_SOLIDITY * mask.sum())


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
