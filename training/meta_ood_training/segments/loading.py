"""Parquet tables -> the segments of one entropy threshold, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from meta_ood_training.segments.folders import check_folders
from meta_ood_training.segments.schemas import CORE_TABLES
from meta_ood_training.segments.segment_set import PublishedSegments, SegmentSet
from meta_ood_training.segments.table import read_sidecar, read_table
import numpy as np
import pyarrow as pa


def load_segment_set(
    folders: Sequence[Path],
    entropy_threshold: float,
    *,
    split: str | None = None,
    max_segments: int = 200_000,
    min_object_px: int = 0,
    seed: int = 0,
    core_thresholds: Sequence[float] = (),
) -> SegmentSet:
    """
    Read the segments found at one entropy threshold.

    Parameters
    ----------
    max_segments : int
        With more segments than this at any threshold, whole images are drawn at random until it
        is reached: the same ones for all thresholds, so that their errors compare.
    min_object_px : int
        Smaller objects need not be found; a segment on one is still a true segment.
    core_thresholds : sequence of float
        Above the entropy threshold: what is published at each is loaded, too.

    Raises
    ------
    ValueError
        The folders do not belong together or know no such threshold.

    """
    sidecar = check_folders(folders)
    names = tuple(sidecar['metric_names'])
    check_thresholds(folders, [entropy_threshold])
    check_core_thresholds(folders, core_thresholds)
    frames = read_table(folders, 'frames')
    if split is not None:
        check_split(frames, split)
        frames = frames.filter(pa.array(np.asarray(frames['split'].to_pylist()) == split))
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
    published = [
        _publish(
            everything,
            core,
            frames,
            objects,
            *(
                read_table(
                    folders,
                    table,
                    entropy_threshold=entropy_threshold,
                    core_threshold=core,
                    frames=chosen,
                )
                for table in CORE_TABLES
            ),
        )
        for core in core_thresholds
    ]
    everything = replace(everything, published=tuple(published))
    everything = everything.with_objects(everything.object_size_px >= min_object_px)
    left_out = segments['left_out'].to_numpy(zero_copy_only=False)
    return everything.without_unknown(left_out) if left_out.any() else everything


def check_thresholds(folders: Sequence[Path], thresholds: Sequence[float]) -> None:
    """Refuse entropy thresholds that the segments of a folder were not found at."""
    for folder in folders:
        known = read_sidecar(Path(folder))['entropy_thresholds']
        for threshold in thresholds:
            if not np.isclose(known, threshold).any():
                raise ValueError(
                    f'entropy_threshold must be one that the segments in {folder} were found at '
                    f'({known}), got {threshold}: their objects would count as missed. '
                    f'Extract them again: meta-ood-train segments --threshold {threshold}'
                )


def holds_cores(folder: Path, core_threshold: float) -> bool:
    """Return whether the segments of a folder were cut at a core threshold."""
    known = read_sidecar(Path(folder)).get('core_thresholds', [])
    return bool(np.isclose(known, core_threshold).any())


def check_core_thresholds(folders: Sequence[Path], core_thresholds: Sequence[float]) -> None:
    """Refuse core thresholds at which the segments of a folder were not cut."""
    for folder in folders:
        for core in core_thresholds:
            if not holds_cores(folder, core):
                known = read_sidecar(Path(folder)).get('core_thresholds', [])
                raise ValueError(
                    f'core_threshold must be one at which the segments in {folder} were cut '
                    f'({known}), got {core:g}: nobody knows what is published there. Extract '
                    f'them again: meta-ood-train segments --core-threshold {core:g}'
                )


def check_split(frames: pa.Table, split: str) -> None:
    """Refuse a split that no image of the table `frames` belongs to."""
    splits = np.unique(frames['split'].to_pylist())
    if split not in splits:
        raise ValueError(
            f'split must be one of those in the segments ({", ".join(splits)}), got {split!r}.'
        )


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
        frame_left_out=np.zeros(len(number), dtype=np.int64),
        frame_objects_left_out=np.zeros(len(number), dtype=np.int64),
        object_frame=object_frame,
        object_size_px=objects['size_px'].to_numpy(),
        object_number=objects['object'].to_numpy().astype(np.int64),
        overlap_segment=_locate(
            segment_frame, segments['segment'].to_numpy(), pair_frame, overlaps['segment']
        ),
        overlap_object=_locate(
            object_frame, objects['object'].to_numpy(), pair_frame, overlaps['object']
        ),
        overlap_px=overlaps['overlap_px'].to_numpy(),
        frames_available=available,
    )


def _publish(
    judged: SegmentSet,
    core_threshold: float,
    frames: pa.Table,
    objects: pa.Table,
    parts: pa.Table,
    overlaps: pa.Table,
) -> PublishedSegments:
    """Return what is published of all judged segments, but for parts more than half void."""
    if core_threshold <= judged.entropy_threshold:
        raise ValueError(
            f'core_threshold must be above the entropy threshold {judged.entropy_threshold:g}, '
            f'got {core_threshold:g}: segments are published as they were judged. Leave it out.'
        )
    segments = _assemble(
        frames,
        _number_as_segments(parts),
        objects,
        _number_as_segments(overlaps),
        judged.entropy_threshold,
        (),
        judged.frames_available,
    )
    parent = _locate(
        judged.segment_frame, judged.segment_number, segments.segment_frame, parts['segment']
    )
    left_out = parts['left_out'].to_numpy(zero_copy_only=False)
    return PublishedSegments(float(core_threshold), segments.without(left_out), parent[~left_out])


def _number_as_segments(table: pa.Table) -> pa.Table:
    """Return a table of published segments as one of segments."""
    names = [name for name in table.column_names if name != 'segment']
    renamed = ['segment' if name == 'published' else name for name in names]
    return table.select(names).rename_columns(renamed)


def _locate(
    frame: np.ndarray, identity: np.ndarray, pair_frame: np.ndarray, pair_identity: pa.ChunkedArray
) -> np.ndarray:
    """Return the row of each (frame, identity) pair."""
    wanted = pair_identity.to_numpy()
    span = int(max(identity.max(initial=0), wanted.max(initial=0))) + 1
    keys = frame * span + identity
    order = np.argsort(keys, kind='stable')
    return order[np.searchsorted(keys[order], pair_frame * span + wanted)]
