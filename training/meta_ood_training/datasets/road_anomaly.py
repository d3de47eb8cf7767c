"""RoadAnomaly: sixty real road scenes with animals, rocks and lost things."""

from pathlib import Path

from meta_ood_training.datasets.paired import (
    files_by_stem,
    Pair,
    pair_files,
    PairedImages,
    require_folder,
    require_ood,
    target_by_table,
    visible,
)
from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD


class RoadAnomaly(PairedImages):
    """
    RoadAnomaly, repacked or as released.

    Parameters
    ----------
    root : str or Path
        Holds `images` and `labels` (label 1 = anomaly), or `frames` as released (label 2 =
        anomaly in <frame>.labels/labels_semantic.png).

    Notes
    -----
    Never trained on and never selected on. The group is the image.

    """

    region_of_interest = 'the whole image'

    def __init__(self, root: str | Path) -> None:
        folder = require_folder(Path(root), 'RoadAnomaly', 'images and labels')
        if (folder / 'frames').is_dir():
            images = files_by_stem(folder / 'frames')
            labels = {
                path.parent.name.removesuffix('.labels'): path
                for path in visible((folder / 'frames').glob('*.labels/labels_semantic.png'))
            }
            table = {0: IN_DISTRIBUTION, 1: IN_DISTRIBUTION, 2: OOD, 255: IGNORED}
        else:
            images = files_by_stem(require_folder(folder / 'images', 'RoadAnomaly', 'images'))
            labels = files_by_stem(require_folder(folder / 'labels', 'RoadAnomaly', 'labels'))
            table = {0: IN_DISTRIBUTION, 1: OOD, 255: IGNORED}
        files = pair_files(images, labels, 'RoadAnomaly', str(folder))
        super().__init__(
            [Pair(name, name, image, label) for name, image, label in files],
            target_by_table(table, 'RoadAnomaly'),
        )
        require_ood(self, 'RoadAnomaly')
