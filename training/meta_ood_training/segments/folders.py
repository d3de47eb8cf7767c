"""Folders of segments -> what they share, or why they cannot be fitted together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from meta_ood_training.segments.table import read_sidecar, read_table

# what must be equal for segments to be fitted together: a classifier belongs to all of it
_MUST_AGREE = (
    'metric_names',
    'connectivity',
    'label_rule',
    'min_size_px',
    'work_short_side',
    'network_sha256',
    'score',
)


def check_folders(folders: Sequence[Path], *, same_network: Collection[str] = ()) -> dict:
    """
    Return the first sidecar with all sources, after checking that the folders go together.

    Parameters
    ----------
    same_network : collection of str
        Model ids known to be of one network, with one meta classifier or another.

    Raises
    ------
    ValueError
        They were extracted in different ways.

    """
    if not folders:
        raise ValueError('at least one folder of segments is needed, got none. Give its path.')
    sidecars = [read_sidecar(Path(folder)) for folder in folders]
    for folder, sidecar in zip(folders[1:], sidecars[1:], strict=True):
        for key in _MUST_AGREE:
            if key == 'network_sha256' and None in (sidecar[key], sidecars[0][key]):
                key = 'model_id'  # recorded segments name a model, but not its network
                if {sidecar[key], sidecars[0][key]} <= set(same_network):
                    continue
            if sidecar[key] != sidecars[0][key]:
                raise ValueError(
                    f'segments fitted together must share {key}, got {sidecars[0][key]!r} in '
                    f'{folders[0]} and {sidecar[key]!r} in {folder}. Extract both alike.'
                )
    together = {
        name: [one for sidecar in sidecars for one in sidecar.get(name, [])]
        for name in ('sources', 'lost', 'missed_object_unit')
    }
    return {
        **sidecars[0],
        **together,
        'missed_object_unit': sorted(set(together['missed_object_unit'])),
    }


def list_used_sources(
    sources: Sequence[dict[str, Any]], folders: Sequence[Path], split: str | None
) -> list[dict[str, Any]]:
    """Return the sources of folders with the frames of one split alone; all where it is None."""
    if split is None:
        return list(sources)
    used = []
    for folder in folders:
        frames = read_table([folder], 'frames', columns=['image', 'split']).to_pylist()
        own = read_sidecar(folder)['sources']
        titles = Counter(one['title'] for one in own)
        for one in own:
            begin = f'{one["title"]}/'
            count = sum(
                frame['split'] == split and frame['image'].startswith(begin) for frame in frames
            )
            # images of two sources of one title cannot be told apart
            used.append({**one, 'frames': count} if titles[one['title']] == 1 else one)
    return [one for one in used if one['frames']]
