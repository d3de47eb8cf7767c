"""Files on disk -> samples: the part that all layouts share, and its complaints."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import copy
from dataclasses import dataclass
from pathlib import Path

import cv2
from meta_ood_ros.core.error_text import shown
from meta_ood_ros.core.files.image_file import read_image_file, UPRIGHT
from meta_ood_training.datasets.label_image import read_label, refuse_lossy
from meta_ood_training.datasets.sample import OOD, Sample
import numpy as np

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp')


@dataclass(frozen=True)
class Pair:
    """An image file, its label file, and what they are called."""

    name: str
    group: str
    image: Path
    label: Path


class PairedImages:
    """
    Image files with one label file each -> samples.

    Parameters
    ----------
    pairs : sequence of Pair
        What to read, in order.
    to_target : callable
        (H, W) label array of one pair, and its path -> (H, W) uint8 target (see `Sample`).

    Attributes
    ----------
    equivalent_predictions : mapping of int to int
        Predicted class id -> class id that counts as the same in this data set's labels.
    region_of_interest : str
        What counts at all, in words for a report.

    """

    region_of_interest = 'all pixels but those that the labels leave void'
    equivalent_predictions: Mapping[int, int] = {}

    def __init__(
        self, pairs: Sequence[Pair], to_target: Callable[[np.ndarray, Path], np.ndarray]
    ) -> None:
        self.pairs = tuple(pairs)
        self.to_target = to_target

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all samples, in order."""
        return tuple(pair.name for pair in self.pairs)

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of all samples, in order."""
        return tuple(pair.group for pair in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        image = read_image(pair.image)
        label = read_label(pair.label)
        if label.shape != image.shape[:2]:
            raise ValueError(
                f'{pair.label} must have the size of its image {image.shape[:2]}, got '
                f'{label.shape}. Check that both belong together; an orientation tag (EXIF) '
                'of the image is applied.'
            )
        return Sample(image, self.to_target(label, pair.label), pair.name, pair.group)

    def select(self, keep: Callable[[Pair], bool]) -> 'PairedImages':
        """
        Return the samples whose pair passes.

        Parameters
        ----------
        keep : callable
            Pair -> bool.

        Returns
        -------
        PairedImages
            In the same order; may be empty.

        """
        chosen = copy.copy(self)
        chosen.pairs = tuple(pair for pair in self.pairs if keep(pair))
        return chosen


def read_image(path: Path) -> np.ndarray:
    """
    Return an image file as RGB.

    Parameters
    ----------
    path : Path
        JPEG, PNG, WebP, BMP, TIFF, GIF or PNM. An orientation tag is applied, as whoever draws
        labels on a photograph sees it.

    Returns
    -------
    ndarray of shape (H, W, 3), uint8

    """
    image = read_image_file(path, flags=UPRIGHT)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def require_folder(path: Path, layout: str, holds: str) -> Path:
    """Return a folder, or say what was expected where."""
    if not path.is_dir():
        raise FileNotFoundError(
            f'{layout} expects {holds} in {path}, got no such folder. Give the folder that '
            f'the data set unpacks to.'
        )
    return path


def pair_files(
    images: Mapping[str, Path],
    labels: Mapping[str, Path],
    layout: str,
    where: str,
    *,
    advice: str = 'Unpack the data set again.',
) -> list[tuple[str, Path, Path]]:
    """Return image and label files joined by their key, sorted by key."""
    if not images:
        raise FileNotFoundError(f'{layout} expects images in {where}, got none.')
    for kind, lacking in (('label', images.keys() - labels), ('image', labels.keys() - images)):
        if lacking:
            shown = ', '.join(sorted(lacking)[:3]) + (', ...' if len(lacking) > 3 else '')
            raise FileNotFoundError(
                f'{layout} expects one {kind} per {"image" if kind == "label" else "label"} in '
                f'{where}, got {len(lacking)} without: {shown}. {advice}'
            )
    files = [(key, images[key], labels[key]) for key in sorted(images)]
    suspects = [label for _, _, label in files if label.suffix.lower() in ('.jpg', '.jpeg')]
    for label in [*suspects[:1], files[0][2]]:  # the others are seen when they are read
        refuse_lossy(label, label.read_bytes())
    return files


def files_by_stem(
    folder: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES, *, ending: str = ''
) -> dict[str, Path]:
    """Return the files of a folder by name without suffix and without a common ending."""
    wanted = set(suffixes)
    return files_by_key(
        (shown(path.stem[: len(path.stem) - len(ending)]), path)
        for path in visible(folder.iterdir())
        if path.suffix.lower() in wanted and path.stem.endswith(ending)
    )


def visible(paths: Iterable[Path]) -> list[Path]:
    """Return paths in order, without hidden ones: macOS's `._name` is no image."""
    return sorted(path for path in paths if not path.name.startswith('.'))


def files_by_key(files: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Return files by key; two of one key are refused, because only one of them would be used."""
    found: dict[str, Path] = {}
    for key, path in files:
        if key in found:
            raise ValueError(
                f'one file must have the name {key}, got {found[key]} and {path}. Move away the '
                'one that is not meant.'
            )
        found[key] = path
    return found


def require_ood(samples: PairedImages, layout: str) -> None:
    """Refuse a set for OoD scores whose labels mark no OoD pixel: every score would be empty."""
    values: set[int] = set()
    complaint: Exception | None = None
    for pair in samples.pairs:
        try:
            label = read_label(pair.label)
            is_ood = samples.to_target(label, pair.label) == OOD
        except (OSError, ValueError) as error:  # one of many may be damaged
            complaint = complaint or error
            continue
        if is_ood.any():
            return
        values.update(np.unique(label).tolist())
    if complaint is not None:
        raise complaint
    advice = 'Check that these are its labels.'
    if values == {0, 255}:
        advice = (
            'Here 255 is void and 1 an anomaly: of masks drawn with 0 and 255 save 1 in the '
            'place of 255.'
        )
    raise ValueError(
        f'{layout} expects labels with OoD pixels, got none in {len(samples)} labels, which hold '
        f'the values {sorted(values)}. {advice}'
    )


def target_by_table(
    table: Mapping[int, int], layout: str
) -> Callable[[np.ndarray, Path], np.ndarray]:
    """Return the function that maps label values to target values and refuses all others."""
    lookup = np.zeros(256, np.uint8)
    known = np.zeros(256, bool)
    for value, target in table.items():
        lookup[value] = target
        known[value] = True

    def to_target(label: np.ndarray, path: Path) -> np.ndarray:
        present = np.bincount(label.ravel(), minlength=256) > 0
        if np.any(present & ~known):
            strangers = np.flatnonzero(present & ~known)[:8].tolist()
            raise ValueError(
                f'{layout} expects label values {sorted(table)}, got {strangers} in {path}. '
                f'These labels are of another kind or data set.'
            )
        return lookup[label]

    return to_target
