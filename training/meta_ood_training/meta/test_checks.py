"""Test and baseline of `fit-meta` -> refusals where errors on them could not be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
import sys
from typing import Any

from meta_ood_training.meta.options import FitMetaOptions
from meta_ood_training.segments.folders import check_folders
from meta_ood_training.segments.loading import check_thresholds, load_segment_set
from meta_ood_training.segments.table import read_table
import numpy as np

# what decides which objects there are, and which of them nobody knows about
_MUST_AGREE = ('work_short_side', 'label_rule')


def check_baseline(options: FitMetaOptions, sidecar: Mapping[str, Any]) -> None:
    """
    Refuse a network before OoD training whose errors are not of the same objects.

    Raises
    ------
    ValueError
        Another grid or label rule; other images, groups or objects than those of the test.

    """
    baseline = check_folders([*options.baseline, *options.baseline_test])
    for key in _MUST_AGREE:
        if baseline[key] != sidecar[key]:
            raise ValueError(
                f'--baseline and the segments to fit on must share {key}, got {baseline[key]!r} '
                f'and {sidecar[key]!r}: their objects would not be the same. Extract both alike.'
            )
    # its best threshold is chosen among all of its own
    its_own = check_folders(options.baseline)['entropy_thresholds']
    check_thresholds([*options.baseline, *options.baseline_test], its_own)
    if not options.baseline_test:
        return
    smallest = options.min_object_px
    both = [_read_test(folders, smallest) for folders in (options.baseline_test, options.test)]
    for what, before, after in zip(('images', 'groups of images', 'objects'), *both, strict=True):
        if before != after:
            odd = min(set(before) ^ set(after), default='one that occurs twice')
            raise ValueError(
                f'--baseline-test and --test must hold the same {what}, got {len(before)} and '
                f'{len(after)} that differ, as in {odd}. Extract both networks from the same data.'
            )


def _read_test(folders: Sequence[Path], smallest: int) -> tuple[list[Any], ...]:
    """Return sorted: names of the images, (name, group), (name, number of the object in it)."""
    frames = read_table(folders, 'frames', columns=['image', 'group']).to_pydict()
    name = dict(zip(frames['frame'], frames['image'], strict=True))
    objects = read_table(folders, 'objects').to_pydict()
    return (
        sorted(frames['image']),
        sorted(zip(frames['image'], frames['group'], strict=True)),
        sorted(
            (name[frame], number)
            for frame, number, size in zip(
                objects['frame'], objects['object'], objects['size_px'], strict=True
            )
            if size >= smallest
        ),
    )


def check_test_metrics(folders: Sequence[Path], thresholds: Sequence[float]) -> None:
    """
    Refuse a test with metrics that no classifier can judge.

    Raises
    ------
    ValueError
        A metric is NaN or infinite: such a segment would count as rejected.

    """
    for threshold in thresholds:
        segments = load_segment_set(folders, threshold, max_segments=sys.maxsize)
        bad = ~np.isfinite(segments.metrics)
        if bad.any():
            columns = [segments.metric_names[one] for one in np.flatnonzero(bad.any(axis=0))]
            raise ValueError(
                f'metrics of --test must be finite, got {int(bad.any(axis=1).sum())} of '
                f'{len(segments)} segments at {threshold:g} with NaN or infinity in '
                f'{", ".join(columns[:5])}. Extract them again, or pass --drop-incomplete to '
                'leave those segments out.'
            )
