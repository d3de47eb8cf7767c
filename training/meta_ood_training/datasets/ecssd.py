"""ECSSD: photographs of animals, plants and things with an object mask, as OoD proxies."""

from pathlib import Path

from meta_ood_training.datasets.paired import (
    files_by_stem,
    Pair,
    pair_files,
    PairedImages,
    require_folder,
)
from meta_ood_training.datasets.sample import OOD, parse_background
from meta_ood_training.datasets.sources import in_split
import numpy as np

LABEL_FOLDERS = ('masks', 'ground_truth_mask')


class Ecssd(PairedImages):
    """
    ECSSD in the layout <root>/images with <root>/masks or <root>/ground_truth_mask.

    Parameters
    ----------
    root : str or Path
        Folder of both.
    split : str
        `all`, or `train`, `select`, `test` by source image (see `sources`).
    background : str
        What pixels beside the object are: `ignore` or `class:<name>`.
    source : str
        The word under which images are split and grouped; one's own masks have another.

    """

    region_of_interest = 'object masks; the rest as the rule for the background says'

    def __init__(
        self,
        root: str | Path,
        *,
        split: str = 'all',
        background: str = 'ignore',
        source: str = 'ecssd',
    ) -> None:
        layout = source.upper() if source == 'ecssd' else source
        folder = Path(root)
        images = require_folder(folder / 'images', layout, 'photographs')
        at_hand = [folder / name for name in LABEL_FOLDERS if (folder / name).is_dir()]
        masks = at_hand[0] if at_hand else folder / LABEL_FOLDERS[0]
        require_folder(masks, layout, 'object masks')
        files = pair_files(files_by_stem(images), files_by_stem(masks), layout, str(folder))
        beside = parse_background(background)

        def to_target(label: np.ndarray, path: Path) -> np.ndarray:
            values = np.flatnonzero(np.bincount(label.ravel(), minlength=256))
            # A mask is drawn as 0/1 or 0/255; anything between is a saliency map or a photograph.
            if values.size > 2 or values[0] != 0 or values[-1] not in (0, 1, 255):
                raise ValueError(
                    f'{layout} expects masks of 0 and 1 or of 0 and 255, got '
                    f'{values[:8].tolist()} in {path}. These are not object masks.'
                )
            return np.where(label > 0, np.uint8(OOD), np.uint8(beside))

        super().__init__(
            [
                Pair(name, f'{source}/{name}', image, mask)
                for name, image, mask in files
                if in_split(source, name, split)
            ],
            to_target,
        )
