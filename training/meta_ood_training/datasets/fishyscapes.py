"""Fishyscapes Lost & Found and Static, in the two layouts in which people keep them."""

from pathlib import Path

from meta_ood_training.datasets.paired import (
    files_by_stem,
    Pair,
    pair_files,
    PairedImages,
    require_folder,
    target_by_table,
)
from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD

TARGETS = {0: IN_DISTRIBUTION, 1: OOD, 255: IGNORED}
IMAGE_ENDINGS = ('_leftImg8bit',)
LABEL_ENDINGS = ('_labels', '_label')


class Fishyscapes(PairedImages):
    """
    One Fishyscapes set.

    Parameters
    ----------
    root : str or Path
        Either holds `original` and `labels`, or images (.jpg) and labels (.png) side by side.
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
        if (folder / 'original').is_dir() or (folder / 'labels').is_dir():
            images = files_by_stem(require_folder(folder / 'original', 'Fishyscapes', 'images'))
            labels = files_by_stem(require_folder(folder / 'labels', 'Fishyscapes', 'labels'))
        else:
            images = files_by_stem(folder, ('.jpg', '.jpeg'))
            labels = files_by_stem(folder, ('.png',))
        files = pair_files(
            {_cut(key, IMAGE_ENDINGS): path for key, path in images.items()},
            {_cut(key, LABEL_ENDINGS): path for key, path in labels.items()},
            'Fishyscapes',
            str(folder),
        )
        super().__init__(
            [Pair(name, name, image, label) for name, image, label in files],
            target_by_table(TARGETS, 'Fishyscapes'),
        )


def _cut(name: str, endings: tuple[str, ...]) -> str:
    for ending in endings:
        name = name.removesuffix(ending)
    return name
