"""SegmentMeIfYouCan's layout: RoadAnomaly21, RoadObstacle21 and what is kept in the same form."""

from collections.abc import Sequence
from pathlib import Path

from meta_ood_training.datasets.label_image import read_label
from meta_ood_training.datasets.paired import (
    files_by_key,
    files_by_stem,
    Pair,
    pair_files,
    PairedImages,
    require_folder,
    require_ood,
    target_by_table,
)
from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD
import numpy as np

ENDING = '_labels_semantic'
"""Of a label's name as published; redistributed sets name it as the image."""


class SegmentMeIfYouCan(PairedImages):
    """
    One SegmentMeIfYouCan track, or a validation set redistributed in its folders.

    Parameters
    ----------
    root : str or Path
        Holds `images` and `labels_masks` with <frame>_labels_semantic.png, or <frame>.png.

    Attributes
    ----------
    anomaly_value : int
        Label value that was found to mark anomalies: 1, 2 or 255.

    Notes
    -----
    Labels 0 in-distribution (RoadObstacle21: road only), 1 anomaly, 255 void. Copies of these and
    of other sets (RoadAnomaly, Fishyscapes) mark anomalies by 2 or by 255 instead: which, is read
    off the values of all labels and stated in `region_of_interest`; what could mean several
    things is refused. The public part of a track labels its validation frames only; images
    without a label are left out, a label without an image is an error. The group is the image.

    """

    def __init__(self, root: str | Path) -> None:
        folder = Path(root)
        image_folder = require_folder(
            folder / 'images', f'SegmentMeIfYouCan{_name_sets(folder)}', 'images'
        )
        label_folder = require_folder(
            folder / 'labels_masks', 'SegmentMeIfYouCan', f'<frame>{ENDING}.png or <frame>.png'
        )
        labels = files_by_key(
            (name.removesuffix(ENDING), path)
            for name, path in files_by_stem(label_folder, ('.png',)).items()
            if not name.endswith(f'{ENDING}_color')
        )
        if not labels:
            raise FileNotFoundError(
                f'SegmentMeIfYouCan expects <frame>{ENDING}.png or <frame>.png in '
                f'{label_folder}, got none. Labels of the test frames are not public; the '
                'validation frames have them.'
            )
        images = {key: path for key, path in files_by_stem(image_folder).items() if key in labels}
        files = pair_files(images, labels, 'SegmentMeIfYouCan', str(folder))
        self.anomaly_value = _find_anomaly_value([label for _, _, label in files], folder)
        table = {0: IN_DISTRIBUTION, 255: IGNORED, self.anomaly_value: OOD}
        super().__init__(
            [Pair(name, name, image, label) for name, image, label in files],
            target_by_table(table, 'SegmentMeIfYouCan'),
        )
        require_ood(self, 'SegmentMeIfYouCan')
        void = 'none are void' if self.anomaly_value == 255 else '255 is void'
        self.region_of_interest = (
            'all pixels but the void ones (RoadObstacle21: the road and what is on it); in these '
            f'labels {self.anomaly_value} marks an anomaly, {void}'
        )


def _name_sets(folder: Path) -> str:
    """Return the sets below a folder that is none itself, in words."""
    if not folder.is_dir() or (folder / 'images').exists():
        return ''
    sets = sorted(one.parent.name for one in folder.glob('*/labels_masks'))
    return f' (one of the sets {", ".join(sets)} in it)' if sets else ''


def _find_anomaly_value(labels: Sequence[Path], folder: Path) -> int:
    """Return the value that marks anomalies in a set, or say why that cannot be told."""
    seen: list[tuple[frozenset[int], float]] = []  # values of each label, share of 255
    complaint: Exception | None = None
    for path in labels:
        try:
            label = read_label(path)
        except (OSError, ValueError) as error:  # named again when it is read as a sample
            complaint = complaint or error
            continue
        seen.append((frozenset(np.unique(label).tolist()), float((label == 255).mean())))
    if not seen:
        assert complaint is not None
        raise complaint
    of_labels = [one for one, _ in seen]
    values = frozenset[int]().union(*of_labels)
    if values == {0}:
        return 1  # none at all, which is another complaint
    for marker in (1, 2):
        # 255 in other labels than those with anomalies: perhaps anomalies of another tool
        is_mixed = 255 in values and not any({marker, 255} <= one for one in of_labels)
        if {marker} <= values <= {0, marker, 255} and not is_mixed:
            return marker
    if values == {0, 255} and max(share for _, share in seen) < _MOST_OF_AN_IMAGE:
        return 255
    raise ValueError(
        f'SegmentMeIfYouCan expects labels of 0 and one value of an anomaly (1, 2 or 255, and 255 '
        f'for void beside 1 or 2), got the values {sorted(values)} in {len(seen)} labels of '
        f'{folder}, from which that value cannot be told. Save 0 in-distribution, 1 anomaly, '
        '255 void.'
    )


_MOST_OF_AN_IMAGE = 0.5
"""A label with more 255 than this is no mask of objects: its 255 may well be void."""
