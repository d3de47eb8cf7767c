"""SegmentMeIfYouCan's layout: RoadAnomaly21, RoadObstacle21 and what is kept in the same form."""

from pathlib import Path

from meta_ood_training.datasets.paired import (
    files_by_stem,
    Pair,
    pair_files,
    PairedImages,
    require_folder,
    require_ood,
    target_by_table,
)
from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD


class SegmentMeIfYouCan(PairedImages):
    """
    One SegmentMeIfYouCan track.

    Parameters
    ----------
    root : str or Path
        Holds `images` and `labels_masks` with <frame>_labels_semantic.png.

    Notes
    -----
    Labels 0 in-distribution (RoadObstacle21: road only), 1 anomaly, 255 void. The public part of
    a track labels its validation frames only; images without a label are left out, a label
    without an image is an error. The group is the image.

    """

    region_of_interest = (
        'all pixels but the void ones (RoadObstacle21: the road and what is on it)'
    )

    def __init__(self, root: str | Path) -> None:
        folder = Path(root)
        image_folder = require_folder(folder / 'images', 'SegmentMeIfYouCan', 'images')
        label_folder = require_folder(
            folder / 'labels_masks', 'SegmentMeIfYouCan', '<frame>_labels_semantic.png'
        )
        labels = files_by_stem(label_folder, ('.png',), ending='_labels_semantic')
        if not labels:
            raise FileNotFoundError(
                f'SegmentMeIfYouCan expects <frame>_labels_semantic.png in {label_folder}, got '
                f'none. Labels of the test frames are not public; the validation frames have them.'
            )
        images = {key: path for key, path in files_by_stem(image_folder).items() if key in labels}
        files = pair_files(images, labels, 'SegmentMeIfYouCan', str(folder))
        super().__init__(
            [Pair(name, name, image, label) for name, image, label in files],
            target_by_table({0: IN_DISTRIBUTION, 1: OOD, 255: IGNORED}, 'SegmentMeIfYouCan'),
        )
        require_ood(self, 'SegmentMeIfYouCan')
