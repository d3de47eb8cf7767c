"""Bags with ground truth -> labelled frames, or the segments that a node recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.segment_metrics import metric_names
from meta_ood_training.bag_messages import BagMessage, BagReader
from meta_ood_training.bag_types import (
    Deserializer,
    IMAGE_TYPES,
    SEGMENTS_TYPE,
    to_labels,
    to_rgb,
)
from meta_ood_training.datasets.paired import read_label
from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD
from meta_ood_training.labelled_frames import LabelledFrame
import numpy as np

_RESERVED = (IN_DISTRIBUTION, OOD, IGNORED)


@dataclass(frozen=True)
class BagOptions:
    """
    What to read of a bag.

    Parameters
    ----------
    image_topic : str
        '' takes the only topic with images that holds no labels.
    label_topic : str
        mono8 ground truth: class id, IN_DISTRIBUTION = 253, OOD = 254, IGNORED = 255; a label
        belongs to the image of equal stamp.
    label_folder : Path or None
        The same as PNG files <seconds>_<nanoseconds>.png.
    segments_topic, ids_topic : str
        Recorded ~/segments and ~/segment_ids, for `RecordedSegments`.
    block_seconds : float
        Frames of so many seconds form a group.
    split : str
        Written to the column `split`.

    """

    image_topic: str = ''
    label_topic: str = ''
    label_folder: Path | None = None
    segments_topic: str = ''
    ids_topic: str = ''
    block_seconds: float = 10.0
    split: str = 'fit'


class _Bag:
    """What both kinds of source share: stamps, labels, groups, and what was lost."""

    object_unit = '8-connected component'

    def __init__(self, path: Path, options: BagOptions, bundle: Bundle) -> None:
        if bool(options.label_topic) == bool(options.label_folder):
            raise ValueError(
                f'ground truth of {path} must come from one place, got '
                f'{"a topic and a folder" if options.label_topic else "none"}. Pass --label-topic '
                'or --label-folder.'
            )
        self.title = path.stem
        self.options = options
        self.bundle = bundle
        self.losses: list[str] = []
        self.deserialize = Deserializer()
        self._reader = BagReader(path)
        self._files = _label_files(options.label_folder) if options.label_folder else {}
        stamps, types = self._scan()
        self._topic = self._choose_topic(types)
        labelled = set(self._files) or set(stamps.get(options.label_topic, []))
        everything = list(dict.fromkeys(stamps.get(self._topic, [])))
        used = [one for one in everything if one in labelled]
        self.number = {stamp: index for index, stamp in enumerate(used)}
        self._first = min(used, default=0)
        if self._reader.loss:
            self.losses.append(
                f'{self._reader.loss}; {len(used)} labelled frames of {path} were readable'
            )
        if not used:
            known = ', '.join(f'{name} ({kind})' for name, kind in sorted(types.items()))
            raise ValueError(
                f'{path} must hold frames with ground truth of equal stamp, got '
                f'{len(everything)} frames on {self._topic!r} and {len(labelled)} labels. '
                f'Topics: {known or "none"}.'
            )
        if len(used) < len(everything):
            print(f'{path}: {len(everything) - len(used)} of {len(everything)} without a label')

    def __enter__(self) -> _Bag:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __len__(self) -> int:
        """Return the number of frames with ground truth."""
        return len(self.number)

    def share(self, part: int, parts: int) -> Iterator[tuple[int, Any]]:
        """Yield number and content of every parts-th frame, from number `part` on."""
        raise NotImplementedError

    def _scan(self) -> tuple[dict[str, list[int]], dict[str, str]]:
        """Read the bag once: stamps and type of each topic that begins with a header."""
        stamps: dict[str, list[int]] = {}
        types: dict[str, str] = {}
        for message in self._reader:
            types[message.topic] = message.type_name
            if message.type_name in (*IMAGE_TYPES, SEGMENTS_TYPE):
                stamps.setdefault(message.topic, []).append(message.stamp_ns)
        return stamps, types

    def _choose_topic(self, types: dict[str, str]) -> str:
        raise NotImplementedError

    def _label(self, stamp: int, message: BagMessage | None) -> np.ndarray:
        """Return the target of one stamp, (H, W) uint8."""
        if message is None:
            label = read_label(self._files[stamp])
        else:
            label = to_labels(self.deserialize(message))
        known = np.isin(np.unique(label), [*range(self.bundle.num_classes), *_RESERVED])
        if label.dtype != np.uint8 or not known.all():
            raise ValueError(
                f'labels must hold class ids below {self.bundle.num_classes}, '
                f'{IN_DISTRIBUTION} in-distribution, {OOD} OoD or {IGNORED} ignored, got '
                f'{np.unique(label)[~known][:5].tolist()} at stamp {stamp}.'
            )
        return label

    def _frame(self, image: np.ndarray, target: np.ndarray, stamp: int) -> LabelledFrame:
        block = int((stamp - self._first) / 1e9 // self.options.block_seconds)
        return LabelledFrame(
            image=image,
            target=target,
            name=f'{self.title}/{stamp}',
            group=f'{self.title}/block{block}',
            split=self.options.split,
            stamp_ns=stamp,
        )

    def _matched(
        self, topics: tuple[str, ...], part: int, parts: int
    ) -> Iterator[tuple[int, dict[str, BagMessage]]]:
        """Yield stamp and messages of all these topics for each frame of the share."""
        wanted = [topic for topic in topics if topic]
        waiting: dict[int, dict[str, BagMessage]] = {}
        for message in self._reader:
            if message.topic not in wanted:
                continue
            stamp = message.stamp_ns
            number = self.number.get(stamp)
            if number is None or number % parts != part:
                continue
            found = waiting.setdefault(stamp, {})
            found[message.topic] = message
            if len(found) == len(wanted):
                yield stamp, waiting.pop(stamp)


class BagFrames(_Bag):
    """
    Images of a bag with their ground truth; every frame, at the pace of the reader.

    Parameters
    ----------
    path : Path
        Of the bag.
    options : BagOptions
    bundle : Bundle
        Its classes are those that labels may hold.

    """

    def share(self, part: int, parts: int) -> Iterator[tuple[int, LabelledFrame]]:
        """Yield number and frame of every parts-th labelled image, from number `part` on."""
        damaged: Counter[str] = Counter()
        label_topic = self.options.label_topic
        for stamp, found in self._matched((self._topic, label_topic), part, parts):
            target = self._label(stamp, found.get(label_topic))
            try:
                image = to_rgb(self.deserialize(found[self._topic]))
            except ValueError as error:
                damaged[str(error)] += 1
                continue
            if image.shape[:2] != target.shape:
                raise ValueError(
                    f'label must have the size of its image {image.shape[:2]}, got '
                    f'{target.shape} at stamp {stamp}. Check the label topic.'
                )
            yield self.number[stamp], self._frame(image, target, stamp)
        self.losses += [f'{count} images not readable: {why}' for why, count in damaged.items()]

    def _choose_topic(self, types: dict[str, str]) -> str:
        topic = self.options.image_topic
        images = [
            name
            for name, kind in types.items()
            if kind in IMAGE_TYPES and name != self.options.label_topic
        ]
        if topic and topic not in images:
            raise ValueError(
                f'image topic must be one of {", ".join(images) or "none"}, got {topic!r}.'
            )
        if not topic and len(images) != 1:
            raise ValueError(
                f'bag must hold one topic with images, got {", ".join(images) or "none"}. '
                'Choose with --image-topic.'
            )
        return topic or images[0]


class RecordedSegments(_Bag):
    """
    Segments with metrics that a node published, with ground truth by stamp.

    Parameters
    ----------
    path : Path
        Of the bag.
    options : BagOptions
        `segments_topic` is the recorded ~/segments; their pixels come from `ids_topic`
        (~/segment_ids) or, without, from the contours, which leave out holes.
    bundle : Bundle
        Whose metrics they must be.

    Attributes
    ----------
    thresholds : tuple of float
        Entropy thresholds that occur.
    model_id : str
        Of the node.

    Raises
    ------
    ValueError
        A record is incomplete: some segments or all metrics were not published.

    """

    def __init__(self, path: Path, options: BagOptions, bundle: Bundle) -> None:
        self._names = metric_names(bundle.num_classes)
        self._seen_thresholds: set[float] = set()
        self._models: set[str] = set()
        super().__init__(path, options, bundle)
        if len(self._models) > 1:
            raise ValueError(
                f'recorded segments must come from one model, got {", ".join(self._models)}. '
                'Cut the bag.'
            )
        self.thresholds = tuple(sorted(self._seen_thresholds))
        self.model_id = next(iter(self._models), '')

    def share(self, part: int, parts: int) -> Iterator[tuple[int, Any]]:
        """Yield number and (stamp, messages) of every parts-th labelled frame."""
        topics = (self._topic, self.options.ids_topic, self.options.label_topic)
        for stamp, found in self._matched(topics, part, parts):
            yield self.number[stamp], (stamp, found)

    def read(
        self, item: tuple[int, dict[str, BagMessage]]
    ) -> tuple[LabelledFrame, Any, np.ndarray, np.ndarray]:
        """
        Return one recorded frame.

        Parameters
        ----------
        item : (int, dict)
            As `share` yields it.

        Returns
        -------
        (LabelledFrame, OodSegmentArray, ndarray of shape (H, W) int32, ndarray (K, D) float64)
            The frame without pixels, the message, its segments drawn as 1..K, its metrics.

        """
        stamp, found = item
        message = self.deserialize(found[self._topic])
        target = self._label(stamp, found.get(self.options.label_topic))
        if target.shape != (message.height, message.width):
            raise ValueError(
                f'label must have the size of the image {(message.height, message.width)}, got '
                f'{target.shape} at stamp {stamp}. Check the label topic.'
            )
        ids = np.array([one.id for one in message.segments], dtype=np.int64)
        if self.options.ids_topic:
            drawn = to_labels(self.deserialize(found[self.options.ids_topic]))
        else:
            drawn = _draw_contours(message)
        number = np.zeros(65_536, dtype=np.int32)
        number[ids] = np.arange(1, len(ids) + 1)
        metrics = np.array([one.metrics for one in message.segments], dtype=np.float64)
        nothing = np.zeros((0, 0, 3), dtype=np.uint8)
        frame = self._frame(nothing, target, stamp)
        return frame, message, number[drawn], metrics.reshape(len(ids), len(self._names))

    def _choose_topic(self, types: dict[str, str]) -> str:
        topic = self.options.segments_topic
        if types.get(topic) != SEGMENTS_TYPE:
            known = [name for name, kind in types.items() if kind == SEGMENTS_TYPE]
            raise ValueError(
                f'recorded segments must be a topic of type {SEGMENTS_TYPE}, got {topic!r} '
                f'({types.get(topic, "not in the bag")}). There: {", ".join(known) or "none"}.'
            )
        if self.options.ids_topic and self.options.ids_topic not in types:
            raise ValueError(
                f'segment ids must be a topic of the bag, got {self.options.ids_topic!r}. '
                'Leave --recorded-ids out to draw the contours instead.'
            )
        for message in self._reader:
            if message.topic == topic:
                self._check(self.deserialize(message), message.stamp_ns)
        return topic

    def _check(self, message: Any, stamp: int) -> None:
        """Refuse a record that does not hold every segment with every metric."""
        whole = message.segments_found == len(message.segments)
        named = tuple(message.metric_names) == self._names
        outlined = self.options.ids_topic or all(len(one.contour_x) for one in message.segments)
        if not (whole and (named or not len(message.segments)) and outlined):
            lacking = (
                f'{len(message.segments)} of {message.segments_found} segments'
                if not whole
                else f'{len(message.metric_names)} of {len(self._names)} metrics'
                if not named
                else 'no contours and no ~/segment_ids'
            )
            raise ValueError(
                f'recorded segments must be complete, got {lacking} at stamp {stamp}. Record with '
                'publish_rejected, publish_metrics and publish_contours true, and max_segments '
                'large enough.'
            )
        if message.score != 'entropy':
            raise ValueError(
                f"recorded segments must be thresholded on 'entropy', got {message.score!r}. "
                'A meta classifier belongs to its score.'
            )
        # 0.3 travels as float32: 0.30000001 in the message
        self._seen_thresholds.add(round(float(message.score_threshold), 6))
        self._models.add(message.model_id)


def _draw_contours(message: Any) -> np.ndarray:
    """Return segments filled by their outer border, (H, W) int32, holes included."""
    drawn = np.zeros((message.height, message.width), dtype=np.int32)
    for one in message.segments:
        points = np.column_stack([one.contour_x, one.contour_y]).astype(np.int32)
        cv2.drawContours(drawn, [points[:, None]], -1, int(one.id), thickness=cv2.FILLED)
    return drawn


def _label_files(folder: Path) -> dict[int, Path]:
    """Return PNG files by the stamp in their name, in nanoseconds."""
    files: dict[int, Path] = {}
    for path in sorted(folder.glob('*.png')):
        seconds, underscore, nanoseconds = path.stem.partition('_')
        if underscore and seconds.isdigit() and nanoseconds.isdigit():
            files[int(seconds) * 1_000_000_000 + int(nanoseconds)] = path
    if not files:
        raise ValueError(
            f'label folder must hold files <seconds>_<nanoseconds>.png, got none in {folder}. '
            'The stamp is that of the image message.'
        )
    return files
