"""One's own unknown objects: cut-outs with an alpha channel, or photographs with masks."""

from collections.abc import Sequence
from pathlib import Path

import cv2
from meta_ood_ros.core.files.image_file import read_image_file
from meta_ood_training.datasets.coco.run_lengths import encode_mask
from meta_ood_training.datasets.ecssd import Ecssd
from meta_ood_training.datasets.objects import (
    find_masked_objects,
    is_connected,
    MIN_AREA,
    ObjectSource,
    to_source,
)
from meta_ood_training.datasets.paired import files_by_stem, Pair, PairedImages, require_folder
from meta_ood_training.datasets.sample import OOD, parse_background, Sample
from meta_ood_training.datasets.sources import in_split
import numpy as np

SOURCE = 'objects'
"""The word under which sources are split by name."""
_OPAQUE = 128


class CutOuts(PairedImages):
    """
    Images whose alpha channel shows the object: as OoD proxies, on their own mean colour.

    Parameters
    ----------
    root : str or Path
        Holds .png or .webp files with alpha.
    split : str
        `all`, or `train`, `select`, `test` by name (see `sources`).
    background : str
        What pixels beside the object are: `ignore` or `class:<name>`.

    """

    region_of_interest = 'objects; the rest as the rule for the background says'

    def __init__(
        self, root: str | Path, *, split: str = 'all', background: str = 'ignore'
    ) -> None:
        folder = require_folder(Path(root), 'objects', 'cut-outs, or images and masks,')
        files = files_by_stem(folder, ('.png', '.webp'))
        if not files:
            raise FileNotFoundError(
                f'objects expects .png with an alpha channel in {folder}, or images and masks, '
                'got neither. Give the folder that holds them.'
            )
        self._beside = parse_background(background)
        pairs = [
            Pair(name, f'{SOURCE}/{name}', path, path)
            for name, path in files.items()
            if in_split(SOURCE, name, split)
        ]
        super().__init__(pairs, lambda label, path: label)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        image, mask = read_cut_out(pair.image)
        image = np.where(mask[..., None], image, image[mask].mean(axis=0).astype(np.uint8))
        target = np.where(mask, np.uint8(OOD), np.uint8(self._beside))
        return Sample(image, target, pair.name, pair.group)


def read_cut_out(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return image (H, W, 3) uint8 RGB and mask (H, W) bool of a cut-out."""
    pixels = read_image_file(path, flags=cv2.IMREAD_UNCHANGED)
    shape = f'{pixels.shape} {pixels.dtype}'
    if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8:
        raise ValueError(
            f'{path} must be a picture with an alpha channel of 8 bits, got {shape}. Save the '
            'cut-out as RGBA, or give images and masks.'
        )
    mask = pixels[..., 3] >= _OPAQUE
    if mask.all() or not mask.any():
        raise ValueError(
            f'{path} must show an object on a transparent ground, got '
            f'{"no transparent pixel" if mask.all() else "transparent pixels alone"}. Cut it out.'
        )
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB), mask


def open_object_folder(
    root: str | Path, *, split: str = 'all', background: str = 'ignore'
) -> PairedImages:
    """Return a folder of objects as OoD proxies, whichever kind it holds."""
    if (Path(root) / 'images').is_dir():
        return Ecssd(root, split=split, background=background, source=SOURCE)
    return CutOuts(root, split=split, background=background)


def find_folder_objects(
    root: str | Path, *, split: str = 'all', min_area: int = MIN_AREA
) -> tuple[ObjectSource, ...]:
    """
    Return the objects of a folder that can be pasted.

    Parameters
    ----------
    root : str or Path
        Holds cut-outs with an alpha channel; or `images` and `masks` of equal names, of which
        those that the border cuts are left out.
    split : str
        `all`, `train`, `select` or `test` by name.
    min_area : int
        Smaller objects are left out [px].

    """
    opened = open_object_folder(root, split=split)
    if not isinstance(opened, CutOuts):
        return find_masked_objects(opened, min_area)
    return _found(opened.pairs, min_area)


def _found(pairs: Sequence[Pair], min_area: int) -> tuple[ObjectSource, ...]:
    found = []
    for pair in pairs:
        _, mask = read_cut_out(pair.image)
        # A cut-out ends where its object does: the border cuts nothing.
        if is_connected(mask, min_area):
            runs = encode_mask(mask)
            found.append(to_source(pair.group, pair.group, 'object', pair.image, runs, mask))
    return tuple(found)
