"""Segments with metrics that a node published, in a bag with ground truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import cv2
from meta_ood_ros.bags.bag import DamagedMessageError, RecordedMessage, SEGMENTS_TYPE
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.files.image_file import MAX_FILE_PIXELS
from meta_ood_ros.core.image import to_work_size
from meta_ood_ros.core.segment_metrics import metric_names
from meta_ood_training.segments.labelled_bags import (
    BagOptions,
    describe_damage,
    LabelledBag,
    to_labels,
)
from meta_ood_training.segments.labelled_frames import LabelledFrame
from meta_ood_training.segments.stamp_matching import read_stamped
import numpy as np


class RecordedSegments(LabelledBag):
    """
    Recorded ~/segments instead of images: no network runs.

    Parameters
    ----------
    options : BagOptions
        `segments_topic` is the recorded ~/segments; their pixels come from `ids_topic`
        (~/segment_ids) or, without, from the contours, which fill holes.

    Raises
    ------
    ValueError
        A record is incomplete: some segments or all metrics were not published. Or it was made
        at another work size or smallest segment than the bundle's.

    """

    def __init__(self, path: Path, options: BagOptions, bundle: Bundle) -> None:
        self._names = metric_names(bundle.num_classes)
        super().__init__(path, options, bundle)
        self._stride = bundle.build_network().stride
        thresholds, models = set(), set()
        damaged: Counter[str] = Counter()
        for stamp, recorded in read_stamped(self.bag, self.topic):
            try:
                message = self._read_whole(recorded)
            except DamagedMessageError as error:
                damaged[str(error)] += 1
                continue
            self._check(message, stamp)
            self._check_grid(message, stamp)
            thresholds.add(to_threshold(message))
            models.add(message.model_id)
        if not models:
            raise ValueError(
                f'{path} must hold recorded segments that can be read, got none on {self.topic}: '
                f'{"; ".join(damaged)}'
            )
        if len(models) > 1:
            raise ValueError(
                f'recorded segments must come from one model, got {", ".join(sorted(models))}. '
                'Cut the bag.'
            )
        self.thresholds = tuple(sorted(thresholds))
        self.model_id: str = models.pop()

    def share(self, part: int, parts: int, done: Container[int] = ()) -> Iterator[tuple[int, Any]]:
        """Yield number and (stamp, messages) of every parts-th labelled frame."""
        others = (self.options.ids_topic, self.options.label_topic)
        damaged: Counter[str] = Counter()
        for stamp, found in self.match(others, part, parts, done):
            try:  # here, so that a damaged message costs no more than its frame
                self._read_whole(found[self.topic])
                for one in found.values():
                    one.message  # noqa: B018
            except DamagedMessageError as error:
                damaged[str(error)] += 1
                continue
            yield self.number[stamp], (stamp, found)
        self.losses += describe_damage(damaged)

    def read(
        self, item: tuple[int, dict[str, RecordedMessage]]
    ) -> tuple[LabelledFrame, Any, np.ndarray, np.ndarray]:
        """
        Return one recorded frame.

        Returns
        -------
        (LabelledFrame, OodSegmentArray, ndarray of shape (H, W) int32, ndarray (K, D) float64)
            The frame without pixels, the message, its segments drawn as 1..K, its metrics.

        """
        stamp, found = item
        message = found[self.topic].message
        target = self.read_target(stamp, found.get(self.options.label_topic))
        if target.shape != (message.height, message.width):
            raise ValueError(
                f'label must have the size of the image {(message.height, message.width)}, got '
                f'{target.shape} at stamp {stamp}. Check the label topic.'
            )
        ids = np.array([one.id for one in message.segments], dtype=np.int64)
        if self.options.ids_topic:
            drawn = to_labels(found[self.options.ids_topic].message)
            _check_ids(drawn, message, stamp)
        else:
            drawn = _draw_contours(message)
        number = np.zeros(65_536, dtype=np.int32)
        number[ids] = np.arange(1, len(ids) + 1)
        metrics = np.array([one.metrics for one in message.segments], dtype=np.float64)
        nothing = np.zeros((0, 0, 3), dtype=np.uint8)
        frame = self.describe_frame(nothing, target, stamp)
        return frame, message, number[drawn], metrics.reshape(len(ids), len(self._names))

    def _choose_topic(self) -> str:
        ids = self.options.ids_topic
        if ids and ids not in self.bag.topics:
            raise ValueError(
                f'segment ids must be a topic of the bag, got {ids!r}. Leave --recorded-ids out '
                'to draw the contours instead.'
            )
        return self.bag.choose_topic(
            [SEGMENTS_TYPE], self.options.segments_topic, option='--recorded'
        )

    def _read_whole(self, recorded: RecordedMessage) -> Any:
        """Return a message whose lists fit together."""
        message = recorded.message
        for one in message.segments:
            metrics, points = len(one.metrics), (len(one.contour_x), len(one.contour_y))
            if metrics not in (0, len(message.metric_names)) or points[0] != points[1]:
                raise DamagedMessageError(
                    f'segment {one.id} must have {len(message.metric_names)} metrics and as many '
                    f'x as y, got {metrics} metrics, {points[0]} x and {points[1]} y. The '
                    'message is damaged.'
                )
        return message

    def _check(self, message: Any, stamp: int) -> None:
        """Refuse a record that does not hold every segment with every metric."""
        there = len(message.segments)
        lacking = ''
        if message.segments_found != there:
            lacking = f'{there} of {message.segments_found} segments'
        elif there and (
            tuple(message.metric_names) != self._names
            or not all(len(one.metrics) for one in message.segments)
        ):
            fewest = min(len(one.metrics) for one in message.segments)
            lacking = f'{fewest} of {len(self._names)} metrics'
        elif not (self.options.ids_topic or all(len(one.contour_x) for one in message.segments)):
            lacking = 'neither contours nor ~/segment_ids'
        if lacking:
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

    def _check_grid(self, message: Any, stamp: int) -> None:
        """Refuse metrics of another grid, or of segments that the bundle would have dropped."""
        bundle, size = self.bundle, (message.height, message.width)
        judged_mean = self._names.index('entropy_mean')
        if any(abs(one.score_mean - one.metrics[judged_mean]) > 1e-3 for one in message.segments):
            raise ValueError(
                f'recorded segments must be published as they were judged, got cores at stamp '
                f'{stamp}, whose metrics are those of larger segments. Record with core_threshold '
                '0.'
            )
        expected = to_work_size(
            size,
            short_side=bundle.work_short_side,
            stride=self._stride,
            max_pixels=MAX_FILE_PIXELS,
        )
        got = (message.work_height, message.work_width)
        if got != expected:
            raise ValueError(
                f'recorded segments must be of the work size of the bundle, {expected} for '
                f'images of {size}, got {got} at stamp {stamp}. Pass the bundle that the node '
                'ran, or record with its work_short_side.'
            )
        column = self._names.index('size')
        smallest = min((one.metrics[column] for one in message.segments), default=np.inf)
        if smallest < bundle.min_size_px:
            raise ValueError(
                f'recorded segments must have at least the {bundle.min_size_px} work pixels of '
                f'the bundle (min_size_px), got {smallest:g} at stamp {stamp}. Pass the bundle '
                'that the node ran, or record with its min_size_px.'
            )


def to_threshold(message: Any) -> float:
    """Return the entropy threshold of a recorded message: 0.3 travels as 0.30000001 (float32)."""
    return round(float(message.score_threshold), 6)


def _check_ids(drawn: np.ndarray, message: Any, stamp: int) -> None:
    """Refuse ids that are not those of the message: of another node, camera or size."""
    size = (message.height, message.width)
    area = np.zeros(65_536, dtype=np.int64)
    for one in message.segments:
        area[one.id] += one.area_px
    described = f'size {drawn.shape} for {size}'
    if drawn.shape == size:
        count = np.bincount(drawn.ravel(), minlength=len(area))
        wrong = np.flatnonzero(count[1:] != area[1:]) + 1
        if not len(wrong):
            return
        described = f'{count[wrong[0]]} for {area[wrong[0]]} pixels of segment {wrong[0]}'
    raise ValueError(
        f'segment ids must show the recorded segments, got {described} at stamp {stamp}. '
        '--recorded-ids is the ~/segment_ids of the same node and camera.'
    )


def _draw_contours(message: Any) -> np.ndarray:
    """Return segments filled by their outer border, (H, W) int32, holes included."""
    drawn = np.zeros((message.height, message.width), dtype=np.int32)
    for one in message.segments:
        points = np.column_stack([one.contour_x, one.contour_y]).astype(np.int32)
        cv2.drawContours(drawn, [points[:, None]], -1, int(one.id), thickness=cv2.FILLED)
    return drawn
