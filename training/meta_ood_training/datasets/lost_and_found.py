"""LostAndFound: small obstacles on the road, with its three rules for harmless objects."""

from pathlib import Path

from meta_ood_training.datasets.cityscapes import nested_files, target_by_kind
from meta_ood_training.datasets.paired import (
    Pair,
    pair_files,
    PairedImages,
    require_folder,
    require_ood,
)
from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD

NON_HAZARDS = (31, 33, 34, 36, 37, 38, 39)
"""Label ids of random non-hazards; train id 0 in the published label table."""


class LostAndFound(PairedImages):
    """
    LostAndFound in its layout <root>/{leftImg8bit,gtCoarse}/<split>/<sequence>.

    Parameters
    ----------
    root : str or Path
        Folder of `leftImg8bit` and `gtCoarse`.
    split : str
        `train` or `test`.
    non_hazards : str
        What random non-hazards count as: `ignore` (the published pixel metrics),
        `in_distribution` (the published segment metrics: a prediction there is a false
        positive) or `ood` (SegmentMeIfYouCan).

    Notes
    -----
    Everything off the road is ignored: the labels name only free road and objects on it.
    Free road is class 0 (road). The group is the sequence.

    """

    def __init__(
        self, root: str | Path, split: str = 'test', *, non_hazards: str = 'ignore'
    ) -> None:
        rules = {'ignore': IGNORED, 'in_distribution': IN_DISTRIBUTION, 'ood': OOD}
        if non_hazards not in rules:
            raise ValueError(
                f'non_hazards must be one of {", ".join(rules)}, got {non_hazards!r}.'
            )
        folder = Path(root)
        image_folder = require_folder(
            folder / 'leftImg8bit' / split, 'LostAndFound', 'one folder of frames per sequence'
        )
        label_folder = require_folder(
            folder / 'gtCoarse' / split, 'LostAndFound', 'one folder of labels per sequence'
        )
        images = nested_files(image_folder, '_leftImg8bit.png')
        labels = nested_files(label_folder, '_gtCoarse_labelIds.png')
        labels |= nested_files(label_folder, '_gtCoarse_labelTrainIds.png')
        train_ids = {0: rules[non_hazards], 1: 0, 2: OOD, 255: IGNORED}
        label_ids = {label: OOD for label in range(2, 44)}
        label_ids |= {label: rules[non_hazards] for label in NON_HAZARDS}
        label_ids |= {0: IGNORED, 1: 0, 255: IGNORED}
        files = pair_files(images, labels, 'LostAndFound', f'{image_folder} and {label_folder}')
        super().__init__(
            [Pair(name, image.parent.name, image, label) for name, image, label in files],
            target_by_kind(train_ids, label_ids, 'LostAndFound'),
        )
        require_ood(self, 'LostAndFound')
        self.region_of_interest = f'free road and objects on it; random non-hazards: {non_hazards}'
