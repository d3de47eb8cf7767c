"""Bags, videos and folders of images -> the frames that are used, and the masks over them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meta_ood_training.adaptation.options import AdaptOptions, SMALLEST_RECORDING
from meta_ood_training.adaptation.stretches import PARTS, Place, share_out
from meta_ood_training.datasets.label_image import read_label
from meta_ood_training.prediction.inputs import Frame, Input, open_input
import numpy as np


@dataclass(eq=False)
class Recording:
    """
    One bag, video or folder, and which of its frames are used.

    Attributes
    ----------
    title : str
        Unlike that of any other recording.
    frames : int
        How many it holds.
    places : dict of str to Place
        Name of each frame that is used, in the order of time -> where it belongs.
    skipped : dict of str to str
        Frame -> why it cannot be used.

    """

    title: str
    source: Input
    frames: int = 0
    places: dict[str, Place] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def read(self) -> Iterator[tuple[Frame, Place]]:
        """Yield every frame that is used and can be read."""
        for frame in self.source.read(lambda name: name not in self.places):
            if frame.name not in self.places:
                continue
            if frame.image is None:
                self.skipped[frame.name] = frame.complaint
                continue
            yield frame, self.places[frame.name]


def open_recordings(options: AdaptOptions) -> list[Recording]:
    """
    Return the recordings with the frames to use, evenly spaced in time.

    Raises
    ------
    ValueError
        There are none, or too few frames in one, or a part gets none.

    """
    paths = [*options.bags, *options.videos, *options.images]
    if not paths:
        raise ValueError(
            'adapt needs recordings of the new domain, got none. Name some with --bag, --video '
            'or --images.'
        )
    recordings: list[Recording] = []
    stems: Counter[str] = Counter()
    for path in paths:
        source = open_input([path], topic=options.topic)
        stem = path.resolve().stem.replace('+', '-')  # '+' joins names of groups
        stems[stem] += 1
        title = f'{stem}-{stems[stem]}' if stems[stem] > 1 else stem
        recordings.append(_survey(Recording(title, source), path))
    used = sum(len(one.places) for one in recordings)
    stride = -(-used // options.frames)
    for one in recordings:
        one.places = dict(list(one.places.items())[::stride])
    counts = Counter(place.part for one in recordings for place in one.places.values())
    missing = [part for part in PARTS if not counts[part]]
    if missing:
        raise ValueError(
            f'every part needs frames, got none for {", ".join(missing)} of {used} frames. Name '
            'longer recordings, or allow more --frames.'
        )
    return recordings


def _survey(recording: Recording, path: Path) -> Recording:
    """Note names and times of all frames, without decoding."""
    names, seconds = [], []
    for frame in recording.source.read(lambda _: True):
        recording.frames += 1
        if frame.complaint:
            recording.skipped[frame.name] = frame.complaint
            continue
        names.append(frame.name)
        seconds.append(frame.seconds)
    if len(names) < SMALLEST_RECORDING:
        raise ValueError(
            f'a recording must hold at least {SMALLEST_RECORDING} frames, got {len(names)} in '
            f'{path}: there would be nothing to judge on. Record longer.'
        )
    places = zip(names, share_out(seconds), strict=True)
    recording.places = {name: place for name, place in places if place.part}
    return recording


class Masks:
    """
    Where nothing counts: in every frame, and in single ones.

    Raises
    ------
    ValueError
        A mask is of no frame that there is.

    """

    def __init__(
        self, mask: Path | None, folder: Path | None, recordings: Sequence[Recording]
    ) -> None:
        self._always = None if mask is None else read_label(mask) > 0
        self._single = {} if folder is None else _find_single(folder, recordings)

    def __call__(self, title: str, name: str, size: tuple[int, int]) -> np.ndarray | None:
        """Return where a frame (H, W) is masked; None where it is nowhere."""
        found = [] if self._always is None else [self._always]
        path = self._single.get((title, name))
        if path is not None:
            found.append(read_label(path) > 0)
        for one in found:
            if one.shape != size:
                raise ValueError(
                    f'a mask must have the size of its frames, {size[0]} x {size[1]} px of '
                    f'{title}/{name}, got {one.shape[0]} x {one.shape[1]}. Draw it on such a '
                    'frame, and adapt recordings of other cameras on their own.'
                )
        return np.logical_or.reduce(found) if found else None


def _find_single(folder: Path, recordings: Sequence[Recording]) -> Mapping[tuple[str, str], Path]:
    """Return the masks of single frames by recording and name."""
    if not folder.is_dir():
        raise ValueError(f'--masks must be a folder of PNG, got {str(folder)!r}, which is none.')
    known = {
        f'{one.title}/{frame.name}': (one.title, frame.name)
        for one in recordings
        for frame in one.source.read(lambda _: True)
    }
    found = {}
    for path in sorted(folder.rglob('*.png')):
        name = path.relative_to(folder).with_suffix('').as_posix()
        if path.name.startswith('.'):
            continue
        if name not in known:
            raise ValueError(
                f'a mask in --masks must be named <recording>/<frame>.png, such as '
                f'{next(iter(known))}.png, got {name}.png, and there is no such frame. Rename it.'
            )
        found[known[name]] = path
    return found
