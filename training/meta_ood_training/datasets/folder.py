"""A plain folder of images and targets: one's own data, and what `overlay` writes."""

import json
from pathlib import Path

from meta_ood_ros.core.classes import CITYSCAPES_NAMES
from meta_ood_training.datasets.paired import (
    files_by_stem,
    Pair,
    pair_files,
    PairedImages,
    require_folder,
    target_by_table,
)
from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD


class Folder(PairedImages):
    """
    Images and targets of equal stem in <root>/images and <root>/labels.

    Parameters
    ----------
    root : str or Path
        Folder of both. A `manifest.json` there gives the groups: `frames` is a list of
        {"name": ..., "group": ...}; without it every image is its own group.
    num_classes : int
        Labels hold class ids below this, IN_DISTRIBUTION = 253, OOD = 254, IGNORED = 255.

    """

    def __init__(self, root: str | Path, *, num_classes: int = len(CITYSCAPES_NAMES)) -> None:
        folder = Path(root)
        images = require_folder(folder / 'images', 'folder', 'images')
        labels = require_folder(folder / 'labels', 'folder', 'targets')
        files = pair_files(files_by_stem(images), files_by_stem(labels), 'folder', str(folder))
        groups, equivalent = _read_manifest(folder / 'manifest.json')
        super().__init__(
            [Pair(name, groups.get(name, name), image, label) for name, image, label in files],
            target_by_table(
                {value: value for value in (*range(num_classes), IN_DISTRIBUTION, OOD, IGNORED)},
                'folder',
            ),
        )
        self.equivalent_predictions = equivalent


def _read_manifest(path: Path) -> tuple[dict[str, str], dict[int, int]]:
    """Read group by name, and the predictions that count as the same, from a manifest."""
    if not path.is_file():
        return {}, {}
    try:
        manifest = json.loads(path.read_text())
        groups = {frame['name']: frame['group'] for frame in manifest['frames']}
        same = {
            int(key): int(to) for key, to in manifest.get('equivalent_predictions', {}).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{path} must be JSON with "frames": [{{"name": ..., "group": ...}}, ...], got '
            f'{error!r}. Delete it to make every image its own group.'
        ) from error
    return groups, same
