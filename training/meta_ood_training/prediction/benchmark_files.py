"""
OodResult -> the files that two public benchmarks read.

Fishyscapes (Blum et al. 2021) reads, for the image `DDDD_name.png`, `DDDD_anomaly.npy` with a
score a pixel and `DDDD_segmentation.npy` with Cityscapes train ids. SegmentMeIfYouCan (Chan et
al. 2021) reads `anomaly_p/METHOD/DATASET/FRAME.hdf5`, whose `value` holds scores of 16 bits. Both
want the size of the image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import io
from pathlib import Path
import re

from meta_ood_ros.core.files.whole_files import write_whole
import numpy as np
from numpy.typing import NDArray

FISHYSCAPES = 'fishyscapes'
SEGMENT_ME = 'segment_me_if_you_can'
FORM = f'{FISHYSCAPES} or {SEGMENT_ME}:DATASET'
MOST_CLASSES = 20
"""Fishyscapes accepts class ids below this."""


@dataclass(frozen=True)
class Benchmark:
    """
    How the scores of a frame are written.

    Parameters
    ----------
    complain : callable
        Name of a frame -> why it has no file, '' where it has.
    write : callable
        Folder, name, entropy (H, W) float32, semantic (H, W) uint8; None writes nothing.

    """

    complain: Callable[[str], str] = lambda name: ''
    write: Callable[[Path, str, NDArray[np.float32], NDArray[np.uint8]], None] | None = None


def open_benchmark(text: str, *, method: str, num_classes: int) -> Benchmark:
    """
    Return how `fishyscapes` or `segment_me_if_you_can:DATASET` is written; '' is nothing.

    Parameters
    ----------
    method : str
        As which SegmentMeIfYouCan lists the scores.
    num_classes : int
        Of the network.

    """
    if not text:
        return Benchmark()
    kind, _, dataset = text.partition(':')
    if kind == FISHYSCAPES and not dataset:
        if num_classes > MOST_CLASSES:
            raise ValueError(
                f'{FISHYSCAPES} takes the {MOST_CLASSES - 1} classes of Cityscapes, got a network '
                f'of {num_classes}. Choose another --bundle.'
            )
        return Benchmark(_Numbers(), _write_fishyscapes)
    if kind == SEGMENT_ME and re.fullmatch(r'[\w.-]+', dataset) and dataset.strip('.'):
        import h5py  # before the first frame: not everyone has it

        assert h5py.version
        return Benchmark(_complain_folder, _SegmentMe(method, dataset))
    raise ValueError(
        f'benchmark must be {FORM}, such as {SEGMENT_ME}:AnomalyTrack-all, got {text!r}.'
    )


class _Numbers:
    """Numbers in front of names, each of one image."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        if not re.fullmatch(r'\d+(_[^/]*)?', name):
            return (
                f'{FISHYSCAPES} names images DDDD_name.png, got {name!r}, which has no number in '
                'front.'
            )
        other = self._names.setdefault(name.partition('_')[0], name)
        return (
            '' if other == name else f'{FISHYSCAPES} has {other!r} under the number of {name!r}.'
        )


def _write_fishyscapes(
    folder: Path, name: str, entropy: NDArray[np.float32], semantic: NDArray[np.uint8]
) -> None:
    number = name.partition('_')[0]
    for kind, values in (('anomaly', entropy), ('segmentation', semantic)):
        content = io.BytesIO()
        np.save(content, values, allow_pickle=False)
        write_whole(folder / FISHYSCAPES / f'{number}_{kind}.npy', content.getvalue())


def _complain_folder(name: str) -> str:
    if '/' not in name:
        return ''
    return f'{SEGMENT_ME} has its images in one folder, got {name!r}. Give that folder.'


@dataclass(frozen=True)
class _SegmentMe:
    method: str
    dataset: str

    def __call__(
        self, folder: Path, name: str, entropy: NDArray[np.float32], semantic: NDArray[np.uint8]
    ) -> None:
        import h5py

        content = io.BytesIO()
        with h5py.File(content, 'w') as file:
            file.create_dataset('value', data=entropy.astype(np.float16), compression=9)
        place = folder / 'anomaly_p' / self.method / self.dataset
        write_whole(place / f'{name}.hdf5', content.getvalue())
