"""Fishyscapes Lost & Found and Static, in the layouts in which they come and are kept."""

from collections.abc import Collection
from pathlib import Path
import re

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
)
from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD

TARGETS = {0: IN_DISTRIBUTION, 1: OOD, 255: IGNORED}
IMAGE_ENDINGS = ('_leftImg8bit',)
LABEL_ENDINGS = ('_labels', '_label')
FRAMES = 'leftImg8bit'
"""Folder of LostAndFound's frames, by split and sequence, which the labels as released name."""


class Fishyscapes(PairedImages):
    """
    One Fishyscapes set.

    Parameters
    ----------
    root : str or Path
        Holds `original` and `labels`; or images (.jpg) and labels (.png) side by side; or the
        labels as released, alone or in `labels`, named after frames of LostAndFound, whose
        `leftImg8bit` lies there or beside it.
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
        if not images:
            images = _find_frames(folder, labels.keys())
        if not labels.keys() <= images.keys():
            # As released, labels begin with a running number that the frames do not have.
            labels = files_by_key(
                (key if key in images else re.sub(r'^\d+_', '', key), path)
                for key, path in labels.items()
            )
        files = pair_files(images, labels, 'Fishyscapes', str(folder), advice=_ADVICE)
        super().__init__(
            [Pair(name, name, image, label) for name, image, label in files],
            target_by_table(TARGETS, 'Fishyscapes'),
        )
        require_ood(self, 'Fishyscapes')


_ADVICE = (
    f'The frames are not part of what is released: copy or link {FRAMES} of LostAndFound beside '
    'the labels. Images of Static are made with the scripts of Fishyscapes.'
)


def _find_frames(folder: Path, names: Collection[str]) -> dict[str, Path]:
    """Return LostAndFound's frames that labels are named after."""
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
            f'LostAndFound in {" or ".join(map(str, places))}. {_ADVICE}'
        )
    wanted = set(names) | {re.sub(r'^\d+_', '', name) for name in names}
    return {name: path for name, path in frames.items() if name in wanted}


def _by_frame(files: dict[str, Path], endings: tuple[str, ...]) -> dict[str, Path]:
    return files_by_key((_cut(name, endings), path) for name, path in files.items())


def _cut(name: str, endings: tuple[str, ...]) -> str:
    for ending in endings:
        name = name.removesuffix(ending)
    return name
