"""Cityscapes: leftImg8bit and gtFine (or gtCoarse) -> train ids."""

from collections.abc import Callable, Mapping
from pathlib import Path

from meta_ood_training.datasets.paired import (
    files_by_key,
    Pair,
    pair_files,
    PairedImages,
    require_folder,
    target_by_table,
    visible,
)
from meta_ood_training.datasets.sample import IGNORED
import numpy as np

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
        scripts, so `auto` (default) takes it where it is and label ids otherwise,
        frame by frame.
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
        kinds = ('labelIds', 'labelTrainIds') if labels == 'auto' else (labels,)
        # The official scripts may have been stopped: frame by frame, what there is.
        found: dict[str, Path] = {}
        for kind in kinds:
            found |= nested_files(label_folder, f'_{annotation}_{kind}.png')
        if not found:
            raise FileNotFoundError(
                f'Cityscapes expects *_{annotation}_{kinds[0]}.png in {label_folder}, got none. '
                f'Unpack {annotation}_trainvaltest.zip there.'
            )
        advice = 'Unpack the data set again.'
        if labels == 'labelTrainIds':
            advice = 'Run createTrainIdLabelImgs of cityscapesScripts again, or take labels: auto.'
        files = pair_files(
            images, found, 'Cityscapes', f'{image_folder} and {label_folder}', advice=advice
        )
        train_ids = {**{train_id: train_id for train_id in range(19)}, IGNORED: IGNORED}
        super().__init__(
            [Pair(name, image.parent.name, image, label) for name, image, label in files],
            target_by_kind(train_ids, LABEL_IDS_TO_TRAIN_IDS, 'Cityscapes'),
        )


def target_by_kind(
    train_ids: Mapping[int, int], label_ids: Mapping[int, int], layout: str
) -> Callable[[np.ndarray, Path], np.ndarray]:
    """Return the function that maps labels as the ending of their file's name says."""
    of_train_ids = target_by_table(train_ids, f'{layout} (labelTrainIds)')
    of_label_ids = target_by_table(label_ids, f'{layout} (labelIds)')

    def to_target(label: np.ndarray, path: Path) -> np.ndarray:
        is_converted = path.stem.endswith('_labelTrainIds')
        return (of_train_ids if is_converted else of_label_ids)(label, path)

    return to_target


def nested_files(folder: Path, ending: str) -> dict[str, Path]:
    """Return the files one folder below, by name without the ending."""
    found = visible(folder.glob(f'*/*{ending}'))
    return files_by_key((path.name[: -len(ending)], path) for path in found)
