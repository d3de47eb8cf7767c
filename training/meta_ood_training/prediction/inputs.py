"""A path -> frames: image files, a video, the images of a bag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
import math
import os
from pathlib import Path
from typing import Protocol

import cv2
from meta_ood_ros.bags import Bag, RecordedMessage
from meta_ood_ros.bags.bag import IMAGE_TYPES
from meta_ood_ros.core.files.natural_order import natural_order
from meta_ood_training.datasets.paired import read_image
import numpy as np

IMAGE_ENDINGS = frozenset(
    ('.bmp', '.gif', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')
)
BAG_ENDINGS = frozenset(('.mcap', '.db3'))

# A playlist may name other files, and other machines: FFmpeg reads this one file.
_FFMPEG_OPTIONS = 'OPENCV_FFMPEG_CAPTURE_OPTIONS'
_ONE_FILE = 'protocol_whitelist;file'


@dataclass(frozen=True, eq=False)
class Frame:
    """
    One image of an input.

    Parameters
    ----------
    name : str
        Unlike that of any other frame; may hold '/'.
    image : ndarray of shape (H, W, 3), uint8, or None
        RGB; None where it cannot be read, or need not be.
    complaint : str
        Why it cannot be read; '' where it can, or need not be.
    seconds : float
        When it was taken, from any zero [s]; NaN where nothing says so.

    """

    name: str
    image: np.ndarray | None
    complaint: str = ''
    seconds: float = math.nan


class Input(Protocol):
    """Frames in order."""

    title: str

    def __len__(self) -> int: ...

    def read(self, is_done: Callable[[str], bool]) -> Iterator[Frame]:
        """Yield every frame; one that is done is not decoded."""
        ...

    def loss(self) -> str:
        """Return what could not be read, '' for nothing; known after reading."""
        ...


def open_input(paths: Sequence[Path], *, topic: str = '', limit: int = 0) -> Input:
    """
    Return the frames of an image, several, a folder of images, a video or a bag.

    Raises
    ------
    ValueError
        There is no such thing, or nothing in it.

    """
    if not paths:
        raise ValueError('predict needs images, a video or a bag, got none. Name one.')
    for path in paths:
        if not path.exists():
            raise ValueError(
                f'input must be images, a folder of images, a video or a bag, got {str(path)!r}, '
                'which is not there. Check the path.'
            )
    if len(paths) == 1:
        (path,) = paths
        if path.is_dir() and not _is_bag(path):
            return ImageFiles(_find_images(path), path, limit)
        if _is_bag(path):
            return BagImages(path, topic, limit)
        if path.suffix.lower() not in IMAGE_ENDINGS:
            return Video(path, limit)
    others = [path for path in paths if path.suffix.lower() not in IMAGE_ENDINGS]
    if others:
        raise ValueError(
            f'several inputs must all be image files, got {str(others[0])!r} among '
            f'{len(paths)}. Run predict once for each folder, video or bag.'
        )
    return ImageFiles(list(paths), Path(os.path.commonpath([one.parent for one in paths])), limit)


def _is_bag(path: Path) -> bool:
    if path.is_dir():
        return any(one.suffix in BAG_ENDINGS for one in path.iterdir())
    return path.suffix.lower() in BAG_ENDINGS


def _find_images(folder: Path) -> list[Path]:
    found = [
        path
        for path in folder.rglob('*')
        if path.suffix.lower() in IMAGE_ENDINGS
        and not any(part.startswith('.') for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise ValueError(
            f'a folder must hold images ({", ".join(sorted(IMAGE_ENDINGS))}) or a bag, got '
            f'{str(folder)!r}, which holds none. Name the folder in which they lie.'
        )
    return natural_order(found)


class ImageFiles:
    """Image files, named by their path below a folder."""

    def __init__(self, files: Sequence[Path], root: Path, limit: int = 0) -> None:
        self.title = str(root.resolve())
        stems = Counter(file.with_suffix('') for file in files)
        whole = [
            file if stems[file.with_suffix('')] > 1 else file.with_suffix('') for file in files
        ]
        names = [one.relative_to(root).as_posix() for one in whole]
        self._files = dict(list(zip(names, files, strict=True))[: limit or None])

    def __len__(self) -> int:
        return len(self._files)

    def read(self, is_done: Callable[[str], bool]) -> Iterator[Frame]:
        """Yield every file."""
        for name, file in self._files.items():
            if is_done(name):
                yield Frame(name, None)
                continue
            try:
                yield Frame(name, read_image(file))
            except (ValueError, OSError) as error:
                yield Frame(name, None, str(error))

    def loss(self) -> str:
        """Return '': a file that cannot be read is a frame with a complaint."""
        return ''


class Video:
    """
    The frames of a video file, numbered from 0.

    Raises
    ------
    ValueError
        It cannot be opened.

    """

    def __init__(self, path: Path, limit: int = 0) -> None:
        self.title = str(path.resolve())
        self._path, self._limit = path, limit
        capture = self._open()
        # What the container states: some state nothing, others too many.
        self._stated = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        # Frames a second; some state none.
        self._rate = capture.get(cv2.CAP_PROP_FPS) or math.nan
        is_readable = capture.grab()
        capture.release()
        if not is_readable:
            raise self._refusal('no frame of which can be decoded')
        self._count = 0

    def __len__(self) -> int:
        return min(self._stated, self._limit) if self._limit else self._stated

    def _open(self) -> cv2.VideoCapture:
        given = os.environ.setdefault(_FFMPEG_OPTIONS, _ONE_FILE)
        try:
            capture = cv2.VideoCapture(self.title, cv2.CAP_FFMPEG)
        finally:
            if given is _ONE_FILE:
                os.environ.pop(_FFMPEG_OPTIONS, None)
        if not capture.isOpened():
            raise self._refusal('which OpenCV cannot open')
        return capture

    def _refusal(self, reason: str) -> ValueError:
        return ValueError(
            f'a video must be a file that FFmpeg reads, such as .mp4, .mkv or .avi, got '
            f'{str(self._path)!r}, {reason}. Convert it, for example with ffmpeg -i, or copy it '
            'again.'
        )

    def read(self, is_done: Callable[[str], bool]) -> Iterator[Frame]:
        """Yield every frame that can be decoded."""
        capture = self._open()
        self._count = 0
        try:
            while not self._limit or self._count < self._limit:
                name = f'frame_{self._count:06d}'
                if not capture.grab():
                    return
                seconds = self._count / self._rate
                self._count += 1
                if is_done(name):
                    yield Frame(name, None, seconds=seconds)
                    continue
                is_good, pixels = capture.retrieve()
                if not is_good:
                    yield Frame(name, None, f'{name} of {self._path} cannot be decoded.')
                    continue
                image = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
                yield Frame(name, image, seconds=seconds)
        finally:
            capture.release()

    def loss(self) -> str:
        """Return how many frames are missing at the end."""
        if self._count >= len(self):
            return ''
        return (
            f'{self._path} states {len(self)} frames, {self._count} could be decoded. '
            'It may be damaged.'
        )


class BagImages:
    """
    The images of a recorded topic, named <seconds>_<nanoseconds> by their stamps.

    Raises
    ------
    ValueError
        No bag, or no such topic.

    """

    def __init__(self, path: Path, topic: str = '', limit: int = 0) -> None:
        self._bag, self._limit = Bag(path), limit
        self._topic = self._bag.choose_topic(IMAGE_TYPES, topic, option='--topic')
        self.title = f'{self._topic} of {path.resolve()}'

    def __len__(self) -> int:
        count = self._bag.counts[self._topic]
        return min(count, self._limit) if self._limit else count

    def read(self, is_done: Callable[[str], bool]) -> Iterator[Frame]:
        """Yield every image message."""
        seen: Counter[str] = Counter()
        recorded = islice(self._bag.read(self._topic), self._limit or None)
        for number, message in enumerate(recorded):
            yield self._to_frame(number, message, seen, is_done)

    @staticmethod
    def _to_frame(
        number: int, message: RecordedMessage, seen: Counter[str], is_done: Callable[[str], bool]
    ) -> Frame:
        name = f'message_{number:06d}'
        try:
            stamp = message.stamp_ns
            name = f'{stamp // 10**9}_{stamp % 10**9:09d}'
            seen[name] += 1
            if seen[name] > 1:  # drivers that do not set the stamp send the same one
                name = f'{name}_{seen[name]}'
            image = None if is_done(name) else message.to_rgb()
            return Frame(name, image, seconds=stamp / 1e9)
        except ValueError as error:
            return Frame(name, None, str(error))

    def loss(self) -> str:
        """Return what could not be read of the bag."""
        return '' if self._limit else self._bag.loss
