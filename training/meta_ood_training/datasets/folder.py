"""A plain folder of images and targets: one's own data, and what `overlay` writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
import json
from pathlib import Path

from meta_ood_ros.core.classes import CITYSCAPES_NAMES
from meta_ood_training.datasets.classes_file import CLASSES_FILE, ClassTable, find_classes
from meta_ood_training.datasets.label_image import read_label
from meta_ood_training.datasets.paired import (
    files_by_stem,
    Pair,
    pair_files,
    PairedImages,
    require_folder,
    target_by_table,
)
from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD
from meta_ood_training.datasets.sources import in_split
import numpy as np

PARTS = ('all', 'fit', 'select')


class Folder(PairedImages):
    """
    Images and targets of equal stem in <root>/images and <root>/labels.

    Parameters
    ----------
    root : str or Path
        Folder of both. A `manifest.json` there gives the groups: `frames` is a list of
        {"name": ..., "group": ...}, one for each image; without it every image is its own group.
    num_classes : int, optional
        Of the network; labels hold class ids below this, IN_DISTRIBUTION = 253, OOD = 254,
        IGNORED = 255. By default those of `classes.yaml` there, else Cityscapes' 19.
    class_names : sequence of str, optional
        Of the network: classes of `classes.yaml` are then taken for its own by name, those that
        it has no name for are IN_DISTRIBUTION.
    part : str
        `all`; `fit` and `select`, four fifths and a fifth by group.

    Attributes
    ----------
    tags : mapping of str to tuple of str
        Words by which the manifest marks an image, by its name.
    classes : ClassTable or None
        What `classes.yaml` states; label files hold its ids.

    """

    def __init__(
        self,
        root: str | Path,
        *,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        part: str = 'all',
    ) -> None:
        folder = Path(root)
        if part not in PARTS:
            raise ValueError(f'part of folder must be one of {", ".join(PARTS)}, got {part!r}.')
        self.classes = find_classes(folder)
        table = _target_table(self.classes, num_classes, class_names, folder)
        images = require_folder(folder / 'images', 'folder', 'images')
        labels = require_folder(folder / 'labels', 'folder', 'targets')
        files = pair_files(files_by_stem(images), files_by_stem(labels), 'folder', str(folder))
        manifest = _read_manifest(folder / 'manifest.json')
        self._controls = folder / 'controls'
        self._check_complete(manifest, {name for name, _, _ in files}, folder)
        super().__init__(
            [
                Pair(name, manifest.groups.get(name, name), image, label)
                for name, image, label in files
            ],
            target_by_table(table, 'folder'),
        )
        self.equivalent_predictions = manifest.equivalent_predictions
        self.tags = manifest.tags
        if part != 'all':
            wanted = 'train' if part == 'fit' else 'select'
            self.pairs = tuple(
                pair for pair in self.pairs if in_split('folder', pair.group, wanted)
            )
            if not self.pairs:
                raise ValueError(
                    f'{part} of {folder} must hold images, got none of {len(files)}: too few '
                    'groups to share out. Validate on a folder of its own.'
                )

    def _check_complete(self, manifest: '_Manifest', names: set[str], folder: Path) -> None:
        """Refuse part of what `overlay` wrote: scores and groups would be other ones."""
        if not manifest.groups:
            if self._controls.is_dir():
                raise FileNotFoundError(
                    f'folder expects manifest.json beside {self._controls}, got none. Copy the '
                    'whole folder, or delete controls if it is not yours.'
                )
            return
        masks = {name for name in manifest.pasted if (self._controls / f'{name}.png').is_file()}
        for kind, expected, got in (
            ('images and labels', set(manifest.groups), names),
            ('masks in controls', set(manifest.pasted), masks),
        ):
            if expected != got:
                odd = sorted(expected ^ got)
                raise FileNotFoundError(
                    f'folder expects the {len(expected)} {kind} that manifest.json in {folder} '
                    f'names, got {len(got)}; {odd[0]} is one of {len(odd)} on one side alone. '
                    'Copy the whole folder, or correct the manifest.'
                )

    def control(self, index: int) -> np.ndarray | None:
        """
        Return where an image shows a pasted in-distribution object.

        Parameters
        ----------
        index : int
            Place in the dataset.

        Returns
        -------
        ndarray of shape (H, W), bool, or None
            None in a folder without control pastes; without any True where this image has none.

        """
        if not self._controls.is_dir():
            return None
        pair = self.pairs[index]
        path = self._controls / f'{pair.name}.png'
        if path.is_file():
            return read_label(path) > 0
        return np.zeros(read_label(pair.label).shape, bool)


def _target_table(
    classes: ClassTable | None,
    num_classes: int | None,
    class_names: Sequence[str] | None,
    folder: Path,
) -> dict[int, int]:
    """Return label value -> target."""
    if classes is None:
        count = num_classes or len(class_names or CITYSCAPES_NAMES)
        return {value: value for value in (*range(count), IN_DISTRIBUTION, OOD, IGNORED)}
    if class_names is not None:
        return classes.for_network(class_names)
    if num_classes not in (None, len(classes.names)):
        raise ValueError(
            f'{folder / CLASSES_FILE} must have the classes of the network, got '
            f'{len(classes.names)} ({", ".join(classes.names)}) for one of {num_classes}. Set '
            'network.num_classes to their number, or take a network of these classes.'
        )
    return classes.complete()


@dataclass(frozen=True)
class _Manifest:
    """What `manifest.json` says of the images."""

    groups: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    equivalent_predictions: Mapping[int, int] = field(default_factory=dict)
    pasted: frozenset[str] = frozenset()  # names of the images with a pasted control


def _read_manifest(path: Path) -> _Manifest:
    if not path.is_file():
        return _Manifest()
    try:
        content = json.loads(path.read_text())
        frames = content['frames']
        equivalent = content.get('equivalent_predictions', {})
        return _Manifest(
            {frame['name']: str(frame['group']) for frame in frames},
            {frame['name']: tuple(frame.get('tags', ())) for frame in frames},
            {int(predicted): int(labelled) for predicted, labelled in equivalent.items()},
            frozenset(frame['name'] for frame in frames if frame.get('control')),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{path} must be JSON with "frames": [{{"name": ..., "group": ...}}, ...], got '
            f'{error!r}. Delete it to make every image its own group.'
        ) from error
