"""Parquet tables -> the segments of one entropy threshold, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meta_ood_training.segment_folders import check_folders
from meta_ood_training.segment_table import read_sidecar, read_table
import numpy as np
import pyarrow as pa


@dataclass(frozen=True, eq=False)
class SegmentSet:
    """
    K segments of F images at one entropy threshold, with the M objects they should have found.

    Parameters
    ----------
    entropy_threshold : float
        In (0, 1].
    metric_names : tuple of D str
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
    object_frame, object_size_px : ndarray of shape (M,), int64
    overlap_segment, overlap_object, overlap_px : ndarray of shape (P,), int64
        Pairs that share pixels, as indices into segments and objects.
    left_out : int
        Segments dropped because more than half of them is void (label rule 'deployed').
    objects_left_out : int
        Objects that only such segments touch.
    frames_available : int
        F before subsampling; equal to F unless there were too many segments.

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
    object_frame: np.ndarray
    object_size_px: np.ndarray
    overlap_segment: np.ndarray
    overlap_object: np.ndarray
    overlap_px: np.ndarray
    left_out: int = 0
    objects_left_out: int = 0
    frames_available: int = 0

    def __len__(self) -> int:
        return len(self.is_true_ood)

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
            left_out=self.left_out + int(rows.sum()),
        )

    def without_unknown(self, rows: np.ndarray) -> SegmentSet:
        """
        Return the set without segments of which nobody knows whether they are true, (K,) bool.

        Nor does anybody know whether an object that only they touch was found: it goes, too.
        """
        unknown = np.zeros(len(self.object_frame), dtype=bool)
        unknown[self.overlap_object[rows[self.overlap_segment]]] = True
        unknown[self.overlap_object[~rows[self.overlap_segment]]] = False
        held = self.without(rows).with_objects(~unknown)
        return replace(held, objects_left_out=self.objects_left_out + int(unknown.sum()))

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
            overlap_segment=self.overlap_segment[pairs],
            overlap_object=number[self.overlap_object[pairs]],
            overlap_px=self.overlap_px[pairs],
        )

    def of_frames(self, keep: np.ndarray) -> SegmentSet:
        """Return what some of the images hold, (F,) bool."""
        number = np.cumsum(keep) - 1
        held = self.without(~keep[self.segment_frame]).with_objects(keep[self.object_frame])
        return replace(
            held,
            segment_frame=number[held.segment_frame],
            object_frame=number[held.object_frame],
            **{name: getattr(self, name)[keep] for name in _FRAME_COLUMNS},
            left_out=self.left_out,
            frames_available=int(keep.sum()),
        )


_FRAME_COLUMNS = (
    'frame_name',
    'frame_group',
    'frame_split',
    'frame_road_px',
    'frame_in_distribution_px',
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


def load_segment_set(
    folders: Sequence[Path],
    entropy_threshold: float,
    *,
    split: str | None = None,
    max_segments: int = 200_000,
    min_object_px: int = 0,
    seed: int = 0,
) -> SegmentSet:
    """
    Read the segments found at one entropy threshold.

    Parameters
    ----------
    folders : sequence of Path
        Written by `meta-ood-train segments` with the same bundle and rules.
    entropy_threshold : float
        One of the sidecar's.
    split : str, optional
        Only images of this split.
    max_segments : int
        With more segments than this at any threshold, whole images are drawn at random until it
        is reached: the same ones for all thresholds, so that their errors compare.
    min_object_px : int
        Smaller objects need not be found; a segment on one is still a true segment.
    seed : int
        Of the draw.

    Returns
    -------
    SegmentSet
        Segments in the order of the images.

    Raises
    ------
    ValueError
        The folders do not belong together or know no such threshold.

    """
    sidecar = check_folders(folders)
    names = tuple(sidecar['metric_names'])
    for folder in folders:
        known = read_sidecar(Path(folder))['entropy_thresholds']
        if not np.isclose(known, entropy_threshold).any():
            raise ValueError(
                f'entropy_threshold must be one that the segments in {folder} were found at '
                f'({known}), got {entropy_threshold}: their objects would count as missed. '
                f'Extract them again: meta-ood-train segments --threshold {entropy_threshold}'
            )
    frames = read_table(folders, 'frames')
    if split is not None:
        splits = np.asarray(frames['split'].to_pylist())
        if split not in splits:
            raise ValueError(
                f'split must be one of those in the segments ({", ".join(np.unique(splits))}), '
                f'got {split!r}.'
            )
        frames = frames.filter(pa.array(splits == split))
    available = len(frames)
    number = frames['frame'].to_numpy()
    light = read_table(folders, 'segments', columns=['frame', 'entropy_threshold'], frames=number)
    chosen = _choose_frames(number, _most_numerous(light), max_segments, seed)
    frames = frames.filter(pa.array(np.isin(number, chosen)))
    segments = read_table(folders, 'segments', entropy_threshold=entropy_threshold, frames=chosen)
    overlaps = read_table(folders, 'overlaps', entropy_threshold=entropy_threshold, frames=chosen)
    objects = read_table(folders, 'objects', frames=chosen)
    everything = _assemble(
        frames, segments, objects, overlaps, entropy_threshold, names, available
    )
    everything = everything.with_objects(everything.object_size_px >= min_object_px)
    left_out = segments['left_out'].to_numpy(zero_copy_only=False)
    return everything.without_unknown(left_out) if left_out.any() else everything


def _most_numerous(segments: pa.Table) -> np.ndarray:
    """Return the frames of the segments of the threshold that has most."""
    frames = segments['frame'].to_numpy()
    _, threshold, count = np.unique(
        segments['entropy_threshold'].to_numpy(), return_inverse=True, return_counts=True
    )
    return frames[threshold == count.argmax()] if len(frames) else frames


def _choose_frames(
    frames: np.ndarray, segment_frames: np.ndarray, max_segments: int, seed: int
) -> np.ndarray:
    """Return all frames, or a random part of them with at most max_segments segments."""
    if len(segment_frames) <= max_segments:
        return frames
    order = np.random.default_rng(seed).permutation(frames)
    size = np.zeros(int(frames.max()) + 1, dtype=np.int64)
    np.add.at(size, segment_frames, 1)
    total = np.cumsum(size[order])
    return np.sort(order[: max(int(np.searchsorted(total, max_segments, side='right')), 1)])


def _assemble(
    frames: pa.Table,
    segments: pa.Table,
    objects: pa.Table,
    overlaps: pa.Table,
    entropy_threshold: float,
    names: tuple[str, ...],
    available: int,
) -> SegmentSet:
    number = frames['frame'].to_numpy()
    place = np.full(int(number.max(initial=-1)) + 1, -1, dtype=np.int64)
    place[number] = np.arange(len(number))
    segment_frame = place[segments['frame'].to_numpy()]
    object_frame = place[objects['frame'].to_numpy()]
    pair_frame = place[overlaps['frame'].to_numpy()]
    metrics = np.column_stack(
        [segments[name].to_numpy() for name in names] or [np.zeros((len(segments), 0))]
    )
    size, void = segments['size_px'].to_numpy(), segments['void_px'].to_numpy()
    return SegmentSet(
        entropy_threshold=float(entropy_threshold),
        metric_names=names,
        metrics=metrics,
        is_true_ood=segments['is_true_ood'].to_numpy(zero_copy_only=False),
        adjusted_iou=segments['adjusted_iou'].to_numpy(),
        segment_frame=segment_frame,
        segment_number=segments['segment'].to_numpy(),
        size_px=size,
        valid_px=size - void,
        road_px=segments['road_px'].to_numpy(),
        in_distribution_px=segments['in_distribution_px'].to_numpy(),
        frame_name=np.asarray(frames['image'].to_pylist(), dtype=object),
        frame_group=np.asarray(frames['group'].to_pylist(), dtype=object),
        frame_split=np.asarray(frames['split'].to_pylist(), dtype=object),
        frame_road_px=frames['road_px'].to_numpy(),
        frame_in_distribution_px=frames['in_distribution_px'].to_numpy(),
        object_frame=object_frame,
        object_size_px=objects['size_px'].to_numpy(),
        overlap_segment=_locate(
            segment_frame, segments['segment'].to_numpy(), pair_frame, overlaps['segment']
        ),
        overlap_object=_locate(
            object_frame, objects['object'].to_numpy(), pair_frame, overlaps['object']
        ),
        overlap_px=overlaps['overlap_px'].to_numpy(),
        frames_available=available,
    )


def _locate(
    frame: np.ndarray, identity: np.ndarray, pair_frame: np.ndarray, pair_identity: pa.ChunkedArray
) -> np.ndarray:
    """Return the row of each (frame, identity) pair."""
    wanted = pair_identity.to_numpy()
    span = int(max(identity.max(initial=0), wanted.max(initial=0))) + 1
    keys = frame * span + identity
    order = np.argsort(keys, kind='stable')
    return order[np.searchsorted(keys[order], pair_frame * span + wanted)]
