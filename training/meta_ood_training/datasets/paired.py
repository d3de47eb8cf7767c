"""Files on disk -> samples: the part that all layouts share, and its complaints."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from meta_ood_ros.core.error_text import shown
from meta_ood_ros.core.image_file import read_image_file, UPRIGHT
from meta_ood_training.datasets.sample import Sample
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
        self._to_target = to_target

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
        return Sample(image, self._to_target(label, pair.label), pair.name, pair.group)

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
        chosen = PairedImages([pair for pair in self.pairs if keep(pair)], self._to_target)
        chosen.equivalent_predictions = self.equivalent_predictions
        chosen.region_of_interest = self.region_of_interest
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


def read_label(path: Path) -> np.ndarray:
    """
    Return a label file as it is.

    Returns
    -------
    ndarray of shape (H, W), uint8

    """
    label = read_image_file(path, flags=cv2.IMREAD_UNCHANGED)
    if label.ndim != 2 or label.dtype != np.uint8:
        raise ValueError(
            f'{path} must be a label image with one 8-bit channel, got {label.shape} '
            f'{label.dtype}. A coloured or palette picture is not a label: save the class ids.'
        )
    return label


def require_folder(path: Path, layout: str, holds: str) -> Path:
    """Return a folder, or say what was expected where."""
    if not path.is_dir():
        raise FileNotFoundError(
            f'{layout} expects {holds} in {path}, got no such folder. Give the folder that '
            f'the data set unpacks to.'
        )
    return path


def pair_files(
    images: Mapping[str, Path], labels: Mapping[str, Path], layout: str, where: str
) -> list[tuple[str, Path, Path]]:
    """Return image and label files joined by their key, sorted by key."""
    if not images:
        raise FileNotFoundError(f'{layout} expects images in {where}, got none.')
    for kind, lacking in (('label', images.keys() - labels), ('image', labels.keys() - images)):
        if lacking:
            shown = ', '.join(sorted(lacking)[:3]) + (', ...' if len(lacking) > 3 else '')
            raise FileNotFoundError(
                f'{layout} expects one {kind} per {"image" if kind == "label" else "label"} in '
                f'{where}, got {len(lacking)} without: {shown}. Unpack the data set again.'
            )
    return [(key, images[key], labels[key]) for key in sorted(images)]


def files_by_stem(
    folder: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES, *, ending: str = ''
) -> dict[str, Path]:
    """Return the files of a folder by name without suffix and without a common ending."""
    wanted = set(suffixes)
    return {
        shown(path.stem[: len(path.stem) - len(ending)]): path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in wanted and path.stem.endswith(ending)
    }


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
