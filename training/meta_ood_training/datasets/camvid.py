"""CamVid as Cityscapes train ids, with the blocks that honest splits need."""

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

TRAIN_IDS = {0: 10, 1: 2, 2: 5, 3: 0, 4: 1, 5: 8, 6: 7, 7: 4, 8: 13, 9: 11, 10: 18, 255: IGNORED}
"""CamVid's 11 classes -> Cityscapes train ids. CamVid's bicyclist is bicycle with rider: 18."""

EQUIVALENT_PREDICTIONS = {12: 18}
"""A network of 19 classes tells rider from bicycle; either is right on CamVid's bicyclist."""

BLOCK_FRAMES = 10
"""Frames of one group. CamVid is labelled at 1 Hz, so a block is ten seconds of driving."""

SELECT_FROM = {'0006R0': '0006R0_f03180', '0016E5': '0016E5_07110'}
"""First frame of the select block of a sequence, by name, so that a frame that is lacking moves
no border. The ends of two sequences, none of them 0001TP, whose next frames are test frames;
0016E5 from there on surrounds the official val frames."""
GAP_FROM = {'0006R0': '0006R0_f03060', '0016E5': '0016E5_06990'}
"""First of the four frames (about four seconds) before them that belong to neither part."""


class CamVid(PairedImages):
    """
    CamVid in the layout <root>/{train,val,test}/{images,labels}.

    Parameters
    ----------
    root : str or Path
        Folder of the splits.
    split : str
        `train`, `val`, `test` as published; `fit` and `select`, two parts of `train` with a gap
        between them: checkpoints, weights of losses and thresholds are chosen on `select`,
        because val and part of test continue the videos of train; `test_unseen`, the 171 test
        frames of Seq05VD, the only video that no training frame comes from.
    block_frames : int
        Frames of one group; contiguous within a sequence.

    Notes
    -----
    Groups are named <sequence>_<block>, counted within the published split.

    """

    region_of_interest = 'pixels of the 11 classes, and OoD objects pasted over them'
    equivalent_predictions = EQUIVALENT_PREDICTIONS

    def __init__(
        self, root: str | Path, split: str = 'train', *, block_frames: int = BLOCK_FRAMES
    ) -> None:
        sources = {'fit': 'train', 'select': 'train', 'test_unseen': 'test'}
        published = sources.get(split, split)
        if published not in ('train', 'val', 'test'):
            raise ValueError(
                f'split of CamVid must be train, val, test, fit, select or test_unseen, '
                f'got {split!r}.'
            )
        folder = Path(root) / published
        images = require_folder(folder / 'images', 'CamVid', 'street frames')
        labels = require_folder(folder / 'labels', 'CamVid', 'label images')
        files = pair_files(files_by_stem(images), files_by_stem(labels), 'CamVid', str(folder))
        place: dict[str, int] = {}
        pairs = []
        for name, image, label in files:
            sequence = name.partition('_')[0]
            index = place.get(sequence, 0)
            place[sequence] = index + 1
            if split in ('fit', 'select') and _part(sequence, name) != split:
                continue
            if split == 'test_unseen' and sequence != 'Seq05VD':
                continue
            group = f'{sequence}_{index // block_frames:02d}'
            pairs.append(Pair(name, group, image, label))
        super().__init__(pairs, target_by_table(TRAIN_IDS, 'CamVid'))


def _part(sequence: str, name: str) -> str:
    """Name the part of train that a sequence's frame belongs to."""
    if sequence not in SELECT_FROM or name < GAP_FROM[sequence]:
        return 'fit'
    return 'select' if name >= SELECT_FROM[sequence] else 'gap'
