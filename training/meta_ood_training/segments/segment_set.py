"""
The segments of one entropy threshold as arrays, and what is left when some are taken away.

What is published of them goes along: parts of a segment that is gone are gone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class SegmentSet:
    """
    K segments of F images at one entropy threshold, with the M objects they should have found.

    Parameters
    ----------
    metrics : ndarray of shape (K, D), float64
    is_true_ood : ndarray of shape (K,), bool
        The segment shares a pixel with an OoD object.
    adjusted_iou : ndarray of shape (K,), float64
        In [0, 1].
    segment_frame : ndarray of shape (K,), int64
        Index into the frames.
    segment_number : ndarray of shape (K,), int32
        Of the segment in its image, as in the node's messages.
    size_px, valid_px, road_px, in_distribution_px : ndarray of shape (K,), int64
        Pixels of the segment: all, labelled, on the class road, on anything in-distribution.
    frame_name, frame_group, frame_split : ndarray of shape (F,), object
        Names of the images, their honest groups, their split.
    frame_road_px, frame_in_distribution_px : ndarray of shape (F,), int64
    frame_left_out : ndarray of shape (F,), int64
        Segments dropped because more than half of them is void (label rule 'deployed'), or
        because a metric is not finite.
    frame_objects_left_out : ndarray of shape (F,), int64
        Objects that only such segments touch.
    object_frame, object_size_px : ndarray of shape (M,), int64
    object_number : ndarray of shape (M,), int64
        Of the object in its image, the same for every threshold and network on one work grid.
    overlap_segment, overlap_object, overlap_px : ndarray of shape (P,), int64
        Pairs that share pixels, as indices into segments and objects.
    published : tuple of PublishedSegments
        What is published of these segments, one a core threshold that was asked for.

    """

    entropy_threshold: float
    metric_names: tuple[str, ...]
    metrics: np.ndarray
    is_true_ood: np.ndarray
    adjusted_iou: np.ndarray
    segment_frame: np.ndarray
    segment_number: np.ndarray
    size_px: np.ndarray
    valid_px: np.ndarray
    road_px: np.ndarray
    in_distribution_px: np.ndarray
    frame_name: np.ndarray
    frame_group: np.ndarray
    frame_split: np.ndarray
    frame_road_px: np.ndarray
    frame_in_distribution_px: np.ndarray
    frame_left_out: np.ndarray
    frame_objects_left_out: np.ndarray
    object_frame: np.ndarray
    object_size_px: np.ndarray
    object_number: np.ndarray
    overlap_segment: np.ndarray
    overlap_object: np.ndarray
    overlap_px: np.ndarray
    frames_available: int = 0
    published: tuple[PublishedSegments, ...] = ()

    def __len__(self) -> int:
        return len(self.is_true_ood)

    @property
    def left_out(self) -> int:
        """Return how many segments were dropped because nobody knows whether they are true."""
        return int(self.frame_left_out.sum())

    @property
    def objects_left_out(self) -> int:
        """Return how many objects were dropped because nobody knows whether they were found."""
        return int(self.frame_objects_left_out.sum())

    @property
    def max_softmax(self) -> np.ndarray:
        """Return the segment mean of the largest softmax probability, (K,): the MSP baseline."""
        return 1.0 - self.metrics[:, self.metric_names.index('variation_mean')]

    def without(self, rows: np.ndarray) -> SegmentSet:
        """Return the set without some segments, (K,) bool; images and objects stay."""
        keep = ~rows
        number = np.cumsum(keep) - 1
        pairs = keep[self.overlap_segment]
        return replace(
            self,
            **{name: getattr(self, name)[keep] for name in _SEGMENT_COLUMNS},
            overlap_segment=number[self.overlap_segment[pairs]],
            overlap_object=self.overlap_object[pairs],
            overlap_px=self.overlap_px[pairs],
            frame_left_out=self.frame_left_out + self._count(self.segment_frame[rows]),
            published=tuple(one.without_parents(rows) for one in self.published),
        )

    def without_unknown(self, rows: np.ndarray) -> SegmentSet:
        """
        Return the set without segments of which nobody knows whether they are true, (K,) bool.

        Nor does anybody know whether an object that only they touch was found: it goes, too.
        """
        unknown = np.zeros(len(self.object_frame), dtype=bool)
        unknown[self.overlap_object[rows[self.overlap_segment]]] = True
        unknown[self.overlap_object[~rows[self.overlap_segment]]] = False
        return self.without(rows).without_unknown_objects(unknown)

    def without_unknown_objects(self, unknown: np.ndarray) -> SegmentSet:
        """Return the set without objects of which nobody knows whether they were found, (M,)."""
        left_out = self.frame_objects_left_out + self._count(self.object_frame[unknown])
        kept = self.with_objects(~unknown)
        return replace(
            kept,
            frame_objects_left_out=left_out,
            published=tuple(
                replace(one, segments=replace(one.segments, frame_objects_left_out=left_out))
                for one in kept.published
            ),
        )

    def with_objects(self, keep: np.ndarray) -> SegmentSet:
        """
        Return the set with some of its objects, (M,) bool; every segment stays.

        Pixels on the others count as void: a segment there is neither right nor wrong.
        """
        if keep.all():
            return self
        number = np.cumsum(keep) - 1
        pairs = keep[self.overlap_object]
        elsewhere = np.zeros(len(self), dtype=np.int64)
        np.add.at(elsewhere, self.overlap_segment[~pairs], self.overlap_px[~pairs])
        return replace(
            self,
            valid_px=self.valid_px - elsewhere,
            object_frame=self.object_frame[keep],
            object_size_px=self.object_size_px[keep],
            object_number=self.object_number[keep],
            overlap_segment=self.overlap_segment[pairs],
            overlap_object=number[self.overlap_object[pairs]],
            overlap_px=self.overlap_px[pairs],
            published=tuple(
                replace(one, segments=one.segments.with_objects(keep)) for one in self.published
            ),
        )

    def of_frames(self, keep: np.ndarray) -> SegmentSet:
        """Return what some of the images hold, (F,) bool."""
        number = np.cumsum(keep) - 1
        held = self.without(~keep[self.segment_frame]).with_objects(keep[self.object_frame])
        return replace(
            held,
            segment_frame=number[held.segment_frame],
            object_frame=number[held.object_frame],
            # what `without` counted as left out is of the other images
            **{name: getattr(held, name)[keep] for name in _FRAME_COLUMNS},
            frames_available=int(keep.sum()),
            # their parts elsewhere are gone with their parents: only frames are numbered anew
            published=tuple(
                replace(one, segments=one.segments.of_frames(keep)) for one in held.published
            ),
        )

    def _count(self, frames: np.ndarray) -> np.ndarray:
        return np.bincount(frames, minlength=len(self.frame_name))


@dataclass(frozen=True, eq=False)
class PublishedSegments:
    """
    The N segments that are published where all K judged ones are accepted.

    Parameters
    ----------
    core_threshold : float
        Where the judged ones are cut.
    segments : SegmentSet
        Of the frames and objects of the judged ones, without metrics: (N, 0). A part that is
        more than half void is none of them, and objects stay whether or not only such a part
        touches them, so that all core thresholds are judged on the same ones.
    parent : ndarray of shape (N,), int64
        Row of the judged segment that each is, or is a core of.

    """

    core_threshold: float
    segments: SegmentSet
    parent: np.ndarray

    def without_parents(self, rows: np.ndarray) -> PublishedSegments:
        """Return what is published without some of the judged segments, (K,) bool."""
        gone = rows[self.parent]
        number = np.cumsum(~rows) - 1
        return replace(
            self, segments=self.segments.without(gone), parent=number[self.parent[~gone]]
        )


_FRAME_COLUMNS = (
    'frame_name',
    'frame_group',
    'frame_split',
    'frame_road_px',
    'frame_in_distribution_px',
    'frame_left_out',
    'frame_objects_left_out',
)
_SEGMENT_COLUMNS = (
    'metrics',
    'is_true_ood',
    'adjusted_iou',
    'segment_frame',
    'segment_number',
    'size_px',
    'valid_px',
    'road_px',
    'in_distribution_px',
)
