"""Fishyscapes Lost & Found and Static, in the layouts in which they come and are kept."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
import re
import zipfile

from meta_ood_ros.core.error_text import first_line
from meta_ood_training.datasets.cityscapes import nested_files
from meta_ood_training.datasets.paired import (
    files_by_key,
    files_by_stem,
    Pair,
    pair_files,
    PairedImages,
    require_folder,
    require_ood,
    target_by_table,
    visible,
)
from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD, Sample
import numpy as np

TARGETS = {0: IN_DISTRIBUTION, 1: OOD, 255: IGNORED}
IMAGE_ENDINGS = ('_leftImg8bit', '_rgb')
LABEL_ENDINGS = ('_labels', '_label')
FRAMES = 'leftImg8bit'
"""Folder of LostAndFound's or Cityscapes' frames, by split and sequence or city, which the labels
as released name."""
DIFFERENCE_ENDING = 'rgb.npz'
"""Of what is added to a frame of Cityscapes, after the running number of its label."""


class Fishyscapes(PairedImages):
    """
    One Fishyscapes set.

    Parameters
    ----------
    root : str or Path
        Holds `original` and `labels`; or images (.jpg) and labels (.png) side by side; or the
        labels as released, alone or in `labels`, named after frames of LostAndFound, whose
        `leftImg8bit` lies there or beside it; or, of Static, labels and differences to frames
        of Cityscapes (fs_val), likewise.
    part : str
        `Static`, `LostAndFound`: the folder below root, where root holds several; empty where
        root is the set itself.

    Notes
    -----
    Labels 0 in-distribution, 1 OoD, 255 void. Numbers differ between the versions of Static and
    with the pixels counted: state both.

    """

    def __init__(self, root: str | Path, part: str = '') -> None:
        folder = require_folder(Path(root) / part, 'Fishyscapes', 'images and labels')
        has_folders = (folder / 'original').is_dir() or (folder / 'labels').is_dir()
        if has_folders:
            of_labels = require_folder(folder / 'labels', 'Fishyscapes', 'labels')
        else:
            of_labels = folder
        labels = _by_frame(files_by_stem(of_labels, ('.png',)), LABEL_ENDINGS)
        if (folder / 'original').is_dir():
            images = files_by_stem(folder / 'original')
        elif not has_folders:
            images = files_by_stem(folder, ('.jpg', '.jpeg'))
        else:
            images = {}
        images = _by_frame(images, IMAGE_ENDINGS)
        groups: dict[str, str] = {}
        self._differences: dict[str, Path] = {}
        if not images:
            self._differences = _find_differences({folder, of_labels}, labels)
            of = 'Cityscapes' if self._differences else 'LostAndFound'
            images = _find_frames(folder, labels.keys(), of)
        if self._differences:
            # One frame may carry several objects, so that samples are called by their labels.
            groups = {name: _unnumbered(name) for name in labels}
            images = {name: images[key] for name, key in groups.items() if key in images}
        if not labels.keys() <= images.keys():
            # As released, labels begin with a running number that the frames do not have.
            labels = files_by_key(
                (key if key in images or self._differences else _unnumbered(key), path)
                for key, path in labels.items()
            )
        advice = _ADVICE.format('Cityscapes' if self._differences else 'LostAndFound')
        files = pair_files(images, labels, 'Fishyscapes', str(folder), advice=advice)
        super().__init__(
            [Pair(name, groups.get(name, name), image, label) for name, image, label in files],
            target_by_table(TARGETS, 'Fishyscapes'),
        )
        require_ood(self, 'Fishyscapes')

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        if sample.name not in self._differences:
            return sample
        return replace(sample, image=add_difference(sample.image, self._differences[sample.name]))


def add_difference(frame: np.ndarray, path: Path) -> np.ndarray:
    """
    Return a frame with a difference added as the loader of Fishyscapes' authors adds it.

    Parameters
    ----------
    frame : ndarray of shape (H, W, 3), uint8
        RGB, of Cityscapes.
    path : Path
        An npz archive whose array `rgb` has the shape of the frame.

    Returns
    -------
    ndarray of shape (H, W, 3), uint8
        Their sum, cut at 0 and 255.

    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo('rgb.npy').file_size
        if size > 8 * frame.size + _LONGEST_HEADER:  # before it takes memory
            raise ValueError(f'an array of {size} bytes')
        with np.load(path, allow_pickle=False) as arrays:
            difference = arrays['rgb']
        kind = f'{difference.shape} {difference.dtype}'
        if difference.shape != frame.shape or difference.dtype.kind not in 'iuf':
            raise ValueError(kind)
        if not np.isfinite(difference).all():
            raise ValueError(f'{kind} with values that are not finite')
    except Exception as error:  # numpy, zipfile and zlib have several unrelated types
        raise ValueError(
            f'{path} must hold numbers rgb of {frame.shape}, the difference to a frame of '
            f'Cityscapes, got: {first_line(error)}. Unpack the data set again.'
        ) from error
    total: np.ndarray = np.clip(frame + difference.astype(np.int64), 0, 255).astype(np.uint8)
    return total


_LONGEST_HEADER = 1 << 16

_ADVICE = (
    f'The frames are not part of what is released: copy or link {FRAMES} of {{}} beside the '
    'labels.'
)


def _find_differences(folders: Collection[Path], labels: Collection[str]) -> dict[str, Path]:
    """Return the differences to frames by the name of their label, empty where there are none."""
    paths = visible(one for place in folders for one in place.glob(f'*{DIFFERENCE_ENDING}'))
    if not paths:
        return {}
    numbers = {name.partition('_')[0]: name for name in labels}
    found = files_by_key((numbers.get(one.name.partition('_')[0], one.name), one) for one in paths)
    for kind, lacking in (
        (f'difference (*{DIFFERENCE_ENDING}) per label', set(labels) - found.keys()),
        ('label per difference', found.keys() - set(labels)),
    ):
        if lacking:
            raise FileNotFoundError(
                f'Fishyscapes expects one {kind} in {paths[0].parent}, got {len(lacking)} '
                f'without: {", ".join(sorted(lacking)[:3])}. Unpack the data set again.'
            )
    return found


def _find_frames(folder: Path, names: Collection[str], of: str) -> dict[str, Path]:
    """Return the frames of LostAndFound or Cityscapes that labels are named after."""
    places = [place / FRAMES for place in (folder, folder.parent)]
    frames: dict[str, Path] = {}
    for place in places:
        if place.is_dir():
            for split in sorted(one for one in place.iterdir() if one.is_dir()):
                frames |= nested_files(split, '_leftImg8bit.png')
            break
    if not frames:
        raise FileNotFoundError(
            f'Fishyscapes expects images beside the labels in {folder}, got none, nor frames of '
            f'{of} in {" or ".join(map(str, places))}. {_ADVICE.format(of)} Static comes as '
            f'differences (*{DIFFERENCE_ENDING}) to frames of Cityscapes.'
        )
    wanted = {*names, *map(_unnumbered, names)}
    return {name: path for name, path in frames.items() if name in wanted}


def _unnumbered(name: str) -> str:
    """Return the frame that a label is named after, without the running number before it."""
    return re.sub(r'^\d+_', '', name)


def _by_frame(files: dict[str, Path], endings: tuple[str, ...]) -> dict[str, Path]:
    return files_by_key((_cut(name, endings), path) for name, path in files.items())


def _cut(name: str, endings: tuple[str, ...]) -> str:
    for ending in endings:
        name = name.removesuffix(ending)
    return name
