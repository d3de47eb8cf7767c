"""IDD-Lite: Indian roads with seven coarse labels, of which two name one train id."""

from pathlib import Path

from meta_ood_ros.core.classes import CITYSCAPES_NAMES
from meta_ood_training.datasets.paired import (
    files_by_stem,
    Pair,
    pair_files,
    PairedImages,
    require_folder,
    target_by_table,
)
from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION
from meta_ood_training.datasets.sources import in_split
import numpy as np

PARTS = ('all', 'fit', 'select')

COARSE_CLASSES = (
    'drivable',
    'non-drivable',
    'living things',
    'vehicles',
    'roadside objects',
    'far objects',
    'sky',
)

TRAIN_IDS = {0: 0, 1: IGNORED, 2: IGNORED, 3: IGNORED, 4: IGNORED, 5: IGNORED, 6: 10, 255: IGNORED}
"""Only drivable (road) and sky stand for one train id; the rest is left to a teacher."""

KNOWN_IDS = {
    **TRAIN_IDS,
    **dict.fromkeys((1, 3, 4, 5), IN_DISTRIBUTION),
}
"""The same where only known or unknown counts: all but living things, which may be animals."""

ALLOWED_TRAIN_IDS = (
    (0,),
    (1, 9),
    (11, 12),
    (12, 13, 14, 15, 16, 17, 18),
    (3, 4, 5, 6, 7),
    (2, 5, 8, 9),
    (10,),
)
"""Train ids that a coarse class may stand for. Living things may also be animals, vehicles also
three-wheelers and roadside objects also billboards, which no train id names: a prediction
outside the set contradicts the label, one inside it is not proved by it."""


class IddLite(PairedImages):
    """
    IDD-Lite in the layout <root>/{images,labels}, names <sequence>_<frame>.

    Parameters
    ----------
    root : str or Path
        Folder of `images` and `labels`.
    part : str
        `all`; `select`, the tenth of the sequences that no network of ours was trained on; `fit`,
        the others.
    is_known : bool
        Whether every coarse class but living things is IN_DISTRIBUTION, to judge what is taken for
        unknown, instead of left to a teacher.

    Notes
    -----
    Targets hold road (0), sky (10) and IGNORED, so they train with a teacher's soft predictions
    on the rest; `with_coarse_targets` gives all seven labels. The group is the sequence.

    Raises
    ------
    ValueError
        There is no such part.

    """

    region_of_interest = 'road and sky: the other coarse labels name no class'

    def __init__(self, root: str | Path, *, part: str = 'all', is_known: bool = False) -> None:
        if part not in PARTS:
            raise ValueError(f'part of idd_lite must be one of {", ".join(PARTS)}, got {part!r}.')
        folder = Path(root)
        images = require_folder(folder / 'images', 'IDD-Lite', 'street frames')
        labels = require_folder(folder / 'labels', 'IDD-Lite', 'coarse label images')
        files = pair_files(files_by_stem(images), files_by_stem(labels), 'IDD-Lite', str(folder))
        pairs = [Pair(name, name.partition('_')[0], image, label) for name, image, label in files]
        if part != 'all':
            selected = part == 'select'
            pairs = [
                pair for pair in pairs if in_split('idd_lite', pair.group, 'select') == selected
            ]
        super().__init__(
            pairs,
            target_by_table(KNOWN_IDS if is_known else TRAIN_IDS, 'IDD-Lite'),
        )

    def with_coarse_targets(self) -> PairedImages:
        """
        Return the same frames with targets that index COARSE_CLASSES, or are IGNORED.

        Returns
        -------
        PairedImages
            In the same order.

        """
        table = {**{value: value for value in range(len(COARSE_CLASSES))}, IGNORED: IGNORED}
        return PairedImages(self.pairs, target_by_table(table, 'IDD-Lite'))


def allowed_table() -> np.ndarray:
    """
    Return which train ids each coarse class may stand for.

    Returns
    -------
    ndarray of shape (256, 19), bool
        Row = coarse label; the row of IGNORED (255) and of unused values allows everything.

    """
    table = np.ones((256, len(CITYSCAPES_NAMES)), bool)
    for coarse, train_ids in enumerate(ALLOWED_TRAIN_IDS):
        table[coarse] = False
        table[coarse, list(train_ids)] = True
    return table
