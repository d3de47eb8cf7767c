"""StreetHazards and BDD-Anomaly (CAOS, Hendrycks et al., ICML 2022), in published folders."""

import json
from pathlib import Path
from typing import Any

from meta_ood_training.datasets.label_image import read_label
from meta_ood_training.datasets.paired import (
    files_by_key,
    IMAGE_SUFFIXES,
    Pair,
    pair_files,
    PairedImages,
    require_folder,
    require_ood,
    target_by_table,
    visible,
)
from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD
import numpy as np

HAZARD_TARGETS = {
    **{1: IN_DISTRIBUTION, 2: 2, 3: 4, 4: IN_DISTRIBUTION, 5: 11, 6: 5, 7: 0, 8: 0},
    **{9: 1, 10: 8, 11: 13, 12: 3, 13: 7, 14: OOD},
}
"""StreetHazards: 1 unlabelled (sky too), 2 building, 3 fence, 4 other, 5 pedestrian, 6 pole,
7 road line, 8 road, 9 pavement, 10 vegetation, 11 car, 12 wall, 13 traffic sign, 14 anomaly."""

UNKNOWN_CLASSES = (16, 17, 18)
"""Train ids that BDD-Anomaly takes for OoD: train, motorcycle, bicycle."""

_OF_TRAIN_IDS = {
    **{train_id: train_id for train_id in range(19)},
    **dict.fromkeys(UNKNOWN_CLASSES, OOD),
    255: IGNORED,
}
BDD_LABELS = {
    # 1 and 2 more than Cityscapes' train ids, so that 1 is what these leave void
    'train_labels': {1: IGNORED, **{k + 2: v for k, v in _OF_TRAIN_IDS.items() if k < 255}},
    'labels': _OF_TRAIN_IDS,
}
"""Folder of BDD-Anomaly's labels -> target of each value."""


class StreetHazards(PairedImages):
    """
    StreetHazards' test part in its published layout.

    Parameters
    ----------
    root : str or Path
        Holds `images/test/<town>` and `annotations/test/<town>`; or `test` that holds these.

    Notes
    -----
    As in the published evaluation everything that is no anomaly is in-distribution, what is
    unlabelled (the sky too) included; classes are given as Cityscapes train ids, road lines as
    road. The group is the town.

    """

    region_of_interest = 'the whole image'

    def __init__(self, root: str | Path) -> None:
        folder = Path(root)
        if not (folder / 'images').is_dir() and (folder / 'test' / 'images').is_dir():
            folder = folder / 'test'
        parts = [
            require_folder(folder / part / 'test', 'StreetHazards', f'one folder of {part} a town')
            for part in ('images', 'annotations')
        ]
        images, labels = (
            files_by_key(
                (f'{path.parent.name}/{path.stem}', path)
                for path in visible(one.glob('*/*'))
                if path.suffix.lower() in IMAGE_SUFFIXES
            )
            for one in parts
        )
        files = pair_files(images, labels, 'StreetHazards', f'{parts[0]} and {parts[1]}')
        super().__init__(
            [
                Pair(name.replace('/', '_'), image.parent.name, image, label)
                for name, image, label in files
            ],
            target_by_table(HAZARD_TARGETS, 'StreetHazards'),
        )
        require_ood(self, 'StreetHazards')


class BddAnomaly(PairedImages):
    """
    BDD-Anomaly's test part: images of BDD100K's `10k` set that show a train or a two-wheeler.

    Parameters
    ----------
    root : str or Path
        Holds `seg`, or is it: `images/{train,val}/<id>.jpg` and the published labels
        `train_labels/{train,val}/<id>_train_id.png` (1 other, 2 to 20 the train ids plus two), or
        `labels/...` (train ids). An `anom.odgt` in root lists the images; without it all labels
        are read once.

    Notes
    -----
    OoD are train, motorcycle and bicycle, which a network that was trained on Cityscapes or
    BDD100K knows: the scores are meant for networks trained without them. Void pixels are
    ignored here; the published evaluation counts them as in-distribution. Images without a label
    are left out. The group is the image.

    """

    def __init__(self, root: str | Path) -> None:
        folder = Path(root)
        seg = folder / 'seg' if (folder / 'seg').is_dir() else folder
        require_folder(seg / 'images', 'BDD-Anomaly', 'train and val of BDD100K')
        kind = next((one for one in BDD_LABELS if (seg / one).is_dir()), 'train_labels')
        require_folder(seg / kind, 'BDD-Anomaly', 'the published labels in train and val')
        labels = files_by_key(
            (f'{path.parent.name}/{path.stem.removesuffix("_train_id")}', path)
            for path in visible((seg / kind).glob('*/*_train_id.png'))
        )
        images = files_by_key(
            (f'{path.parent.name}/{path.stem}', path)
            for path in visible((seg / 'images').glob('*/*'))
            if path.suffix.lower() in IMAGE_SUFFIXES
        )
        listed = _read_list(folder / 'anom.odgt')
        keep = set(listed) if listed is not None else images.keys() & labels.keys()
        files = pair_files(
            {key: path for key, path in images.items() if key in keep},
            {key: path for key, path in labels.items() if key in keep},
            'BDD-Anomaly',
            str(seg),
            advice='Copy the images of BDD100K (10k) there; the labels are published without.',
        )
        table = BDD_LABELS[kind]
        unknown = [value for value, target in table.items() if target == OOD]
        if listed is None:
            files = [one for one in files if np.isin(read_label(one[2]), unknown).any()]
        super().__init__(
            [Pair(image.stem, image.stem, image, label) for _, image, label in files],
            target_by_table(table, f'BDD-Anomaly ({kind})'),
        )
        require_ood(self, 'BDD-Anomaly')


def _read_list(path: Path) -> list[str] | None:
    """Return <part>/<id> of the images that an .odgt lists, None where there is none."""
    if not path.is_file():
        return None
    text = path.read_text(encoding='utf-8')
    try:
        # one list, as published, or a record a line, as the format is meant
        records: list[Any] = []
        for line in filter(str.strip, text.splitlines()):
            one = json.loads(line)
            records += one if isinstance(one, list) else [one]
        images = [Path(record['fpath_img']) for record in records]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path} must list records with fpath_img, got something else ({error!r}). Make it '
            'again with create_bdd_dataset.py, or remove it: then all labels are read.'
        ) from error
    return [f'{one.parent.name}/{one.stem}' for one in images]
