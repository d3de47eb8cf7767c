"""Bags with ground truth -> labelled frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
import logging
from pathlib import Path
from typing import Any

from meta_ood_ros.bags.bag import Bag, DamagedMessageError, IMAGE_TYPES, RecordedMessage
from meta_ood_ros.bags.folder import bag_name
from meta_ood_ros.core.bundle import Bundle
from meta_ood_training.datasets.label_image import read_label
from meta_ood_training.datasets.paired import visible
from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD
from meta_ood_training.segments.labelled_frames import LabelledFrame
from meta_ood_training.segments.stamp_matching import match_stamps, read_stamped
import numpy as np

_LOG = logging.getLogger(__name__)
_RESERVED = (IN_DISTRIBUTION, OOD, IGNORED)
_LABEL_TYPES = {'mono8': np.uint8, '8UC1': np.uint8, 'mono16': np.uint16, '16UC1': np.uint16}


@dataclass(frozen=True)
class BagOptions:
    """
    What to read of a bag.

    Parameters
    ----------
    label_topic : str
        mono8 ground truth: class id, IN_DISTRIBUTION = 253, OOD = 254, IGNORED = 255; a label
        belongs to the image of equal stamp.
    block_seconds : float
        Frames of so many seconds form a group; blocks begin at multiples of it since 1970 (or
        since the simulation began), so that all cameras of a bag share them.

    """

    image_topic: str = ''
    label_topic: str = ''
    label_folder: Path | None = None
    segments_topic: str = ''
    ids_topic: str = ''
    block_seconds: float = 10.0
    split: str = 'fit'


class LabelledBag:
    """
    What all sources of a bag share: stamps, labels, groups, and what was lost.

    Attributes
    ----------
    title : str
        '<name>@<first log time [ns]>': bags of one name are told apart, and all cameras and
        records in one bag have the same.
    losses : list of str
        What could not be read or used; complete once all frames were taken.

    """

    object_unit = '8-connected component'
    region_of_interest = 'all pixels but those that the labels leave void (255)'

    def __init__(self, path: Path, options: BagOptions, bundle: Bundle) -> None:
        if bool(options.label_topic) == bool(options.label_folder):
            raise ValueError(
                f'ground truth of {path} must come from one place, got '
                f'{"a topic and a folder" if options.label_topic else "none"}. Pass --label-topic '
                'or --label-folder.'
            )
        self.options = options
        self.bundle = bundle
        self.bag = Bag(path)
        # '+' would join groups, see `join_groups`
        name = bag_name(path).replace('+', '-')
        begin = next((message.raw.log_time_ns for message in self.bag.read()), 0)
        self.title = f'{name}@{begin}'
        self.topic = self._choose_topic()
        self._files = _label_files(options.label_folder) if options.label_folder else {}
        stamps: dict[str, Counter[int]] = {self.topic: Counter(), options.label_topic: Counter()}
        unstamped: Counter[str] = Counter()
        for stamp, message in read_stamped(self.bag, *filter(None, stamps), unstamped=unstamped):
            stamps[message.raw.topic][stamp] += 1
        frames = stamps[self.topic]
        labelled = self._files.keys() or stamps[options.label_topic].keys()
        used = [stamp for stamp in frames if stamp in labelled]
        if not used:
            known = ', '.join(f'{name} ({kind})' for name, kind in sorted(self.bag.topics.items()))
            raise ValueError(
                f'{path} must hold frames with ground truth of equal stamp, got {len(frames)} '
                f'frames on {self.topic} and {len(labelled)} labels. Topics: {known}.'
            )
        if len(used) < len(frames):
            missing = len(frames) - len(used)
            _LOG.warning('%s: %d of %d frames have no label', path, missing, len(frames))
        self.number = {stamp: index for index, stamp in enumerate(used)}
        self.losses: list[str] = []
        if self.bag.loss:
            self.losses.append(f'{self.bag.loss}; {len(used)} labelled frames were readable')
        self.losses += [
            f'{path.name} has {count} messages on {topic} that are too damaged for a stamp'
            for topic, count in unstamped.items()
        ]
        self.losses += _describe_repeats(path, stamps, used)

    def __len__(self) -> int:
        """Return the number of frames with ground truth."""
        return len(self.number)

    def share(self, part: int, parts: int, done: Container[int] = ()) -> Iterator[tuple[int, Any]]:
        """Yield number and content of every parts-th frame, from number `part` on."""
        raise NotImplementedError

    def _choose_topic(self) -> str:
        raise NotImplementedError

    def read_target(self, stamp: int, message: RecordedMessage | None) -> np.ndarray:
        """Return the target of one stamp, (H, W) uint8, from its message or its file."""
        label = read_label(self._files[stamp]) if message is None else to_labels(message.message)
        values = np.unique(label)
        known = np.isin(values, [*range(self.bundle.num_classes), *_RESERVED])
        if label.dtype != np.uint8 or not known.all():
            raise ValueError(
                f'labels must hold class ids below {self.bundle.num_classes}, '
                f'{IN_DISTRIBUTION} in-distribution, {OOD} OoD or {IGNORED} ignored, got '
                f'{values[~known][:5].tolist()} ({label.dtype}) at stamp {stamp}.'
            )
        return label

    def describe_frame(self, image: np.ndarray, target: np.ndarray, stamp: int) -> LabelledFrame:
        """Return the frame of one stamp, in the group of its block of seconds."""
        block = stamp // max(round(self.options.block_seconds * 1e9), 1)
        return LabelledFrame(
            image=image,
            target=target,
            name=f'{self.title}/{stamp}',
            group=f'{self.title}/block{block}',
            split=self.options.split,
            stamp_ns=stamp,
        )

    def match(
        self, others: tuple[str, ...], part: int, parts: int, done: Container[int]
    ) -> Iterator[tuple[int, dict[str, RecordedMessage]]]:
        """Yield stamp and messages, of `topic` and all others, for each frame of the share."""
        wanted = {
            stamp
            for stamp, number in self.number.items()
            if number % parts == part and number not in done
        }
        others = tuple(filter(None, others))
        yield from match_stamps(self.bag, self.topic, others, wanted, losses=self.losses)


class BagFrames(LabelledBag):
    """Images of a bag with their ground truth; every frame, at the pace of the reader."""

    def share(
        self, part: int, parts: int, done: Container[int] = ()
    ) -> Iterator[tuple[int, LabelledFrame]]:
        """Yield number and frame of every parts-th labelled image, from number `part` on."""
        damaged: Counter[str] = Counter()
        label_topic = self.options.label_topic
        for stamp, found in self.match((label_topic,), part, parts, done):
            try:
                target = self.read_target(stamp, found.get(label_topic))
            except DamagedMessageError as error:
                damaged[str(error)] += 1
                continue
            try:
                image = found[self.topic].to_rgb()
            except ValueError as error:
                damaged[str(error)] += 1
                continue
            if image.shape[:2] != target.shape:
                raise ValueError(
                    f'label must have the size of its image {image.shape[:2]}, got '
                    f'{target.shape} at stamp {stamp}. Check the label topic.'
                )
            yield self.number[stamp], self.describe_frame(image, target, stamp)
        self.losses += describe_damage(damaged)

    def _choose_topic(self) -> str:
        topic = self.options.image_topic
        images = [
            name
            for name, kind in self.bag.topics.items()
            if kind in IMAGE_TYPES and name != self.options.label_topic
        ]
        if not topic and len(images) == 1:
            return images[0]
        return self.bag.choose_topic(IMAGE_TYPES, topic, option='--image-topic')


def describe_damage(damaged: Mapping[str, int]) -> list[str]:
    """Say how many frames were left out, and why."""
    return [f'{count} images not readable: {why}' for why, count in damaged.items()]


def _describe_repeats(
    path: Path, stamps: Mapping[str, Mapping[int, int]], used: list[int]
) -> list[str]:
    """Say how many messages come with a stamp that their topic had before."""
    return [
        f'{path.name} repeats stamps: {repeated} messages on {topic} were left out, the first of '
        'each stamp counts'
        for topic, count in stamps.items()
        if (repeated := sum(count[stamp] - 1 for stamp in used if stamp in count))
    ]


def to_labels(message: Any) -> np.ndarray:
    """
    Return the pixels of an image of labels or ids.

    Returns
    -------
    ndarray of shape (H, W), uint8 or uint16

    Raises
    ------
    ValueError
        Another encoding, or too few bytes.

    """
    encoding = getattr(message, 'encoding', 'CompressedImage')
    if encoding not in _LABEL_TYPES:
        raise ValueError(
            f'labels must be an Image with encoding mono8 or mono16, got {encoding!r}. Record '
            'class ids, not colours; never compress them as JPEG.'
        )
    kind = np.dtype(_LABEL_TYPES[encoding])
    data = np.frombuffer(bytes(message.data), dtype=np.uint8)
    used = message.width * kind.itemsize
    if len(data) != message.height * message.step or message.step < used:
        raise DamagedMessageError(
            f'labels of {message.height} rows of {message.step} bytes must have '
            f'{message.height * message.step} bytes, got {len(data)}. The message is damaged.'
        )
    rows = np.ascontiguousarray(data.reshape(message.height, message.step)[:, :used])
    return rows.view(kind.newbyteorder('>' if message.is_bigendian else '<')).astype(kind)


def _label_files(folder: Path) -> dict[int, Path]:
    """Return PNG files by the stamp in their name, in nanoseconds."""
    files: dict[int, Path] = {}
    for path in visible(folder.glob('*.png')):
        seconds, underscore, nanoseconds = path.stem.partition('_')
        if underscore and seconds.isdigit() and nanoseconds.isdigit():
            files[int(seconds) * 1_000_000_000 + int(nanoseconds)] = path
    if not files:
        raise ValueError(
            f'label folder must hold files <seconds>_<nanoseconds>.png, got none in {folder}. '
            'The stamp is that of the image message.'
        )
    return files
