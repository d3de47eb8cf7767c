"""LabelMeFacade: European and American street photographs with eight coarse classes."""

from pathlib import Path

from meta_ood_training.datasets.paired import (
    files_by_stem,
    Pair,
    pair_files,
    PairedImages,
    require_folder,
    target_by_table,
)
from meta_ood_training.datasets.sample import IGNORED
from meta_ood_training.datasets.sources import in_split

TRAIN_IDS = {0: 2, 1: 13, 2: 2, 3: 1, 4: 0, 5: 10, 6: 8, 7: 2, 255: IGNORED}
"""Building, door and window are Cityscapes' building; `various` (255) is anything."""


class LabelMeFacade(PairedImages):
    """
    LabelMeFacade in the layout <root>/{images,labels}.

    Parameters
    ----------
    root : str or Path
        Folder of `images` and `labels`.
    part : str
        `all`; `fit` and `select`, by name: two thirds to train on, a third that no network of
        ours was trained on.

    Notes
    -----
    The group is the walk on which a photograph was taken, its name up to `__`.

    """

    region_of_interest = 'pixels of the eight classes'

    def __init__(self, root: str | Path, part: str = 'all') -> None:
        folder = Path(root)
        images = require_folder(folder / 'images', 'LabelMeFacade', 'street photographs')
        labels = require_folder(folder / 'labels', 'LabelMeFacade', 'label images')
        files = pair_files(
            files_by_stem(images), files_by_stem(labels), 'LabelMeFacade', str(folder)
        )
        pairs = [Pair(name, name.partition('__')[0], image, label) for name, image, label in files]
        if part != 'all':
            fitted = part == 'fit'
            pairs = [
                pair for pair in pairs if in_split('labelme_facade', pair.group, 'train') == fitted
            ]
        super().__init__(pairs, target_by_table(TRAIN_IDS, 'LabelMeFacade'))
