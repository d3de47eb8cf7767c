"""What the demo plays: rendered streets, a folder of pictures, a bag."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import cv2
from meta_ood_ros.bags.bag import Bag, IMAGE_TYPES, RecordedMessage
from meta_ood_ros.core.error_text import shown
from meta_ood_ros.core.files.image_file import read_image_file, UPRIGHT
from meta_ood_ros.core.files.label_image import read_label
from meta_ood_ros.core.files.natural_order import natural_order
from meta_ood_ros.scenes import render_sequence, Scene, stereo_depth
import numpy as np

#: Training draws from small seeds; the demo shows streets that no network has seen.
FIRST_SEED = 1_000_000
#: Pictures of the bundled scene, two of each street: the next one shows the same objects again.
SCENE_FRAMES = 40
STREET_FRAMES = 2
SCENE_SIZE = (360, 640)

#: Values of rendered labels and of recorded ones.
VOID, OOD_LABEL, KNOWN_LABEL = 255, 254, 253
#: Label files that are looked at before the first is played.
_LOOKED_AT = 20

_ENDINGS = {'.bmp', '.jpeg', '.jpg', '.png', '.pgm', '.ppm', '.tif', '.tiff', '.webp'}


@dataclass(frozen=True, eq=False)
class DemoFrame:
    """
    One picture on its way to the node.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8, or None
        RGB; None where a recorded message cannot be decoded (the node will say why).
    labels : ndarray of shape (H, W), uint8, or None
        The truth as fit-meta takes it: class ids, 254 unknown, 255 ignored.
    depth : ndarray of shape (H, W), uint16, or None
        What a stereo camera measures of the scene [mm], 0 where nothing.

    """

    name: str
    image: np.ndarray | None
    recorded: RecordedMessage | None = None
    scene: Scene | None = None
    labels: np.ndarray | None = None
    complaint: str = ''
    depth: np.ndarray | None = None


class Source(Protocol):
    """Something to play: its number of frames, the frames, and how they are sent."""

    title: str
    #: 'raw' or 'compressed'.
    transport: str
    #: Whether frames have depth.
    has_depth: bool

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[DemoFrame]: ...

    def loss(self) -> str:
        """Return what could not be read, '' for nothing; to be asked after iteration."""
        ...


def find_source(
    *,
    images: Path | None = None,
    labels: Path | None = None,
    bag: Path | None = None,
    topic: str = '',
    frames: int | None = None,
) -> Source:
    """
    Return what is to be played: a folder, a bag, or else rendered streets.

    Raises
    ------
    ValueError
        The folder or bag holds nothing to play.

    """
    if images is not None:
        return FolderSource(images, frames, labels)
    if bag is not None:
        return BagSource(bag, frames, topic)
    return SceneSource(frames or SCENE_FRAMES)


class SceneSource:
    """Rendered streets with unknown objects that no training scene shows."""

    transport, has_depth = 'raw', True

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self.title = 'bundled scene'

    def __len__(self) -> int:
        return self._frames

    def __iter__(self) -> Iterator[DemoFrame]:
        for first in range(0, self._frames, STREET_FRAMES):
            street = first // STREET_FRAMES
            count = min(STREET_FRAMES, self._frames - first)
            scenes = render_sequence(FIRST_SEED + street, count, size=SCENE_SIZE, split='test')
            for number, scene in enumerate(scenes):
                name = f'street{street + 1:02d}_{number + 1}'
                yield DemoFrame(
                    name,
                    scene.image,
                    scene=scene,
                    labels=to_labels(scene),
                    depth=to_depth(scene, seed=first + number),
                )

    def loss(self) -> str:
        """Return '': nothing is read."""
        return ''


def to_depth(scene: Scene, seed: int) -> np.ndarray:
    """
    Return the depth image of a stereo camera with its noise and holes.

    Returns
    -------
    ndarray of shape (H, W), uint16
        Millimetres, 0 where nothing was measured.

    """
    metres = stereo_depth(scene.depth, scene.camera_matrix[0, 0], seed)
    return np.round(1000 * np.nan_to_num(metres, nan=0.0)).astype(np.uint16)


class FolderSource:
    """
    The pictures of a folder, in the order of their names.

    Raises
    ------
    ValueError
        There are none.

    """

    transport, has_depth = 'raw', False

    def __init__(self, folder: Path, frames: int | None, labels: Path | None = None) -> None:
        self._labels = labels
        there = natural_order(folder.iterdir()) if folder.is_dir() else []
        self._files = [
            one for one in there if one.suffix.lower() in _ENDINGS and not one.name.startswith('.')
        ][:frames]
        self.title = shown(folder)
        if not self._files:
            got = f'{len(there)} other files' if folder.is_dir() else 'no folder'
            raise ValueError(
                f'--images must be a folder with pictures ({", ".join(sorted(_ENDINGS))}), got '
                f'{got} at {folder}. Name the folder in which the pictures lie.'
            )
        if labels is not None:
            _refuse_twins(self._files)
            _refuse_masks(labels, self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[DemoFrame]:
        for file in self._files:
            try:
                image = read_picture(file)
                labels = None
                if self._labels is not None:
                    labels = read_labels(self._labels / f'{file.stem}.png', image.shape[:2])
                yield DemoFrame(shown(file.stem), image, labels=labels)
            except OSError as error:
                complaint = f'{shown(file)}: {error.strerror}'
                yield DemoFrame(shown(file.name), None, complaint=complaint)
            except ValueError as error:
                yield DemoFrame(shown(file.name), None, complaint=str(error))

    def loss(self) -> str:
        """Return '': a picture that cannot be read is a frame with a complaint."""
        return ''


def to_labels(scene: Scene) -> np.ndarray:
    """Return the truth of a scene as fit-meta takes it from a bag: 254 on unknown pixels."""
    return np.where(scene.classes == VOID, np.uint8(OOD_LABEL), scene.classes)


def read_picture(file: Path) -> np.ndarray:
    """Return a photograph as RGB, turned as its orientation tag demands."""
    picture = read_image_file(file, flags=UPRIGHT)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=picture)


def read_labels(file: Path, size: tuple[int, int]) -> np.ndarray:
    """
    Return a picture of labels.

    Returns
    -------
    ndarray of shape (H, W), uint8

    Raises
    ------
    ValueError
        There is none, or it is something else.

    """
    labels = read_label(file) if file.is_file() else None
    if labels is None or labels.shape != size:
        got = 'none' if labels is None else f'shape {labels.shape}'
        raise ValueError(
            f'its labels must be of shape {size} with class ids, 254 unknown, 255 ignored, got '
            f'{got} at {shown(file)}. Write them as a .png of the same name.'
        )
    return labels


def _refuse_twins(files: Sequence[Path]) -> None:
    """Refuse two pictures that would share one label."""
    known: dict[str, Path] = {}
    for file in files:
        same = known.setdefault(file.stem, file)
        if same is not file:
            raise ValueError(
                f'one picture must have the name of a label, got {shown(same)} and {shown(file)}. '
                'Move away the one that is not meant.'
            )


def _refuse_masks(labels: Path, files: Sequence[Path]) -> None:
    """Refuse masks of 0 and 255, whose objects would be ignored; of many, some are looked at."""
    values: set[int] = set()
    for file in files[:: max(1, len(files) // _LOOKED_AT)]:
        try:
            values |= set(np.unique(read_label(labels / f'{file.stem}.png')).tolist())
        except (OSError, ValueError):  # said where it is played
            continue
    if values == {0, VOID}:
        raise ValueError(
            f'--labels must hold class ids, {OOD_LABEL} on unknown objects and {VOID} on what is '
            f'ignored, got only 0 and {VOID} at {shown(labels)}: every object would be ignored. '
            f'Of masks save {OOD_LABEL} in the place of {VOID}, and {KNOWN_LABEL} in the place of '
            '0 where that means any known class.'
        )


class BagSource:
    """
    The images of a recorded topic.

    Raises
    ------
    ValueError
        No bag, or no such topic.

    """

    has_depth = False

    def __init__(self, path: Path, frames: int | None, topic: str = '') -> None:
        self._bag = Bag(path)
        self._topic = self._bag.choose_topic(IMAGE_TYPES, topic, option='--topic')
        # What is counted is only expected; all that can be read is played.
        self._expected, self._frames = self._bag.counts[self._topic], frames
        raw = self._bag.topics[self._topic] == IMAGE_TYPES[0]
        self.transport = 'raw' if raw else 'compressed'
        self.title = f'{self._topic} of {path}'

    def __len__(self) -> int:
        return self._expected if self._frames is None else min(self._frames, self._expected)

    def __iter__(self) -> Iterator[DemoFrame]:
        for number, recorded in enumerate(islice(self._bag.read(self._topic), self._frames)):
            yield _recorded_frame(number, recorded)

    def loss(self) -> str:
        """Return what could not be read of the bag."""
        return self._bag.loss


def _recorded_frame(number: int, recorded: RecordedMessage) -> DemoFrame:
    try:
        recorded.message  # noqa: B018 - read here, so that no broken bytes go out
        stamp = recorded.stamp_ns
    except ValueError as error:
        return DemoFrame(f'message {number}', None, complaint=str(error))
    name = f'{stamp // 10**9}_{stamp % 10**9:09d}'
    try:
        return DemoFrame(name, recorded.to_rgb(), recorded=recorded)
    except ValueError:
        return DemoFrame(name, None, recorded=recorded)
