"""Cityscapes: leftImg8bit and gtFine (or gtCoarse) -> train ids."""

from pathlib import Path

from meta_ood_training.datasets.paired import (
    Pair,
    pair_files,
    PairedImages,
    require_folder,
    target_by_table,
)
from meta_ood_training.datasets.sample import IGNORED

LABEL_IDS_TO_TRAIN_IDS = {
    **{label: IGNORED for label in range(34)},
    **{7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11},
    **{25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18, 255: IGNORED},
}
"""Official label ids -> train ids; all others (caravan, trailer, tunnel, ...) are void."""


class Cityscapes(PairedImages):
    """
    Cityscapes in its official layout <root>/{leftImg8bit,gtFine}/<split>/<city>.

    Parameters
    ----------
    root : str or Path
        Folder of `leftImg8bit` and `gtFine`.
    split : str
        `train`, `val` or any folder of that level.
    labels : str
        `labelTrainIds` or `labelIds`; the first is not shipped but made by the official
        scripts, so `auto` (default) takes it where it is and label ids otherwise.
    annotation : str
        `gtFine` or `gtCoarse`.

    Notes
    -----
    The group is the city.

    """

    def __init__(
        self,
        root: str | Path,
        split: str = 'train',
        *,
        labels: str = 'auto',
        annotation: str = 'gtFine',
    ) -> None:
        folder = Path(root)
        if labels not in ('auto', 'labelTrainIds', 'labelIds'):
            raise ValueError(
                f'labels of Cityscapes must be auto, labelTrainIds or labelIds, got {labels!r}.'
            )
        image_folder = require_folder(
            folder / 'leftImg8bit' / split, 'Cityscapes', 'one folder of frames per city'
        )
        label_folder = require_folder(
            folder / annotation / split, 'Cityscapes', 'one folder of label images per city'
        )
        images = nested_files(image_folder, '_leftImg8bit.png')
        kinds = ('labelTrainIds', 'labelIds') if labels == 'auto' else (labels,)
        found: dict[str, Path] = {}
        for kind in kinds:
            found = nested_files(label_folder, f'_{annotation}_{kind}.png')
            if found:
                break
        if not found:
            raise FileNotFoundError(
                f'Cityscapes expects *_{annotation}_{kinds[-1]}.png in {label_folder}, got none. '
                f'Unpack {annotation}_trainvaltest.zip there.'
            )
        files = pair_files(images, found, 'Cityscapes', f'{image_folder} and {label_folder}')
        table = LABEL_IDS_TO_TRAIN_IDS
        if kind == 'labelTrainIds':
            table = {**{train_id: train_id for train_id in range(19)}, IGNORED: IGNORED}
        super().__init__(
            [Pair(name, image.parent.name, image, label) for name, image, label in files],
            target_by_table(table, f'Cityscapes ({kind})'),
        )


def nested_files(folder: Path, ending: str) -> dict[str, Path]:
    """Return the files one folder below, by name without the ending."""
    return {path.name[: -len(ending)]: path for path in sorted(folder.glob(f'*/*{ending}'))}
