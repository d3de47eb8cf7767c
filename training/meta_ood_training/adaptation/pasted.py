"""Stretches of recordings + unknown objects -> sets with exact labels, in groups of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
import json
from pathlib import Path
import shutil
from typing import Any

from meta_ood_ros.core.files.whole_folders import replace_folder
from meta_ood_training.datasets.folder import Folder
from meta_ood_training.datasets.objects import ObjectSource
from meta_ood_training.overlays.overlay_set import write_overlay
from meta_ood_training.overlays.plan import OverlaySettings

MANIFEST = 'manifest.json'


def paste_unknown(
    stretches: Path,
    objects: Sequence[ObjectSource],
    output: Path,
    *,
    object_share: float,
    seed: int,
) -> dict[str, Any]:
    """
    Write one set of the plain layout from a folder with a set of each recording.

    Parameters
    ----------
    object_share : float
        Of the frames get an object.

    Returns
    -------
    dict
        Frames, frames with an object, and groups. No source image is pasted in two groups.

    """
    recordings = sorted(one for one in stretches.iterdir() if one.is_dir())
    sources = list(dict.fromkeys(one.group for one in objects))
    if len(sources) < len(recordings):
        raise ValueError(
            f'--objects must hold a source image for each of {len(recordings)} recordings, got '
            f'{len(sources)} of one set. Add objects, or adapt to fewer recordings.'
        )
    frames: list[dict[str, Any]] = []
    pasted = 0
    with replace_folder(output) as folder:
        for part in ('images', 'labels'):
            (folder / part).mkdir()
        for number, recording in enumerate(recordings):
            own = set(sources[number :: len(recordings)])
            made = folder / f'.{recording.name}'
            manifest = write_overlay(
                _in_groups(Folder(recording), len(own)),
                [one for one in objects if one.group in own],
                (),
                made,
                OverlaySettings(object_share=object_share, control_share=0.0, seed=seed + number),
            )
            frames += manifest['frames']
            pasted += manifest['objects']
            for part in ('images', 'labels'):
                for path in (made / part).iterdir():
                    path.replace(folder / part / path.name)
            shutil.rmtree(made)
        text = json.dumps({'frames': frames}, indent=1)
        (folder / MANIFEST).write_text(text + '\n', encoding='utf-8')
    groups = len({frame['group'] for frame in frames})
    return {'frames': len(frames), 'objects': pasted, 'groups': groups}


def _in_groups(dataset: Folder, most: int) -> Folder:
    """Join neighbouring blocks until there are no more than source images."""
    blocks = list(dict.fromkeys(dataset.groups))
    if len(blocks) > most:
        joined = {
            block: f'{block.rpartition("_")[0]}_{place * most // len(blocks):04d}'
            for place, block in enumerate(blocks)
        }
        dataset.pairs = tuple(replace(pair, group=joined[pair.group]) for pair in dataset.pairs)
    return dataset
