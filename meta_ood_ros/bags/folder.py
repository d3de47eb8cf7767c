"""A bag's path -> its storage files in the order of writing, each recording once."""

from __future__ import annotations

from pathlib import Path, PurePath
import re

import yaml

_METADATA = 'metadata.yaml'
_PACKED = '.zstd'
# <name>_<number>.<ending>: the parts of a bag that was split while it was recorded
_PART = re.compile(r'(.*_)(\d+)(\..*)')
_ENDINGS = ('.mcap', '.db3', f'.mcap{_PACKED}', f'.db3{_PACKED}')


def find_bag_files(path: Path) -> tuple[list[Path], str]:
    """
    Return the storage files of a bag.

    Parameters
    ----------
    path : Path
        A .mcap or .db3 file (also .zstd of these), or a folder with such files.

    Returns
    -------
    (list of Path, str)
        The files that metadata.yaml lists, and those that a killed recorder began after them;
        without metadata.yaml all. And what is amiss in the folder, '' where nothing is.

    Raises
    ------
    ValueError
        No bag there, or the same recording in two formats and nothing that says which one counts.

    """
    there = sorted(path.iterdir()) if path.is_dir() else [path] if path.is_file() else []
    files = [one for one in there if one.name.endswith(_ENDINGS)]
    # <name>_10 was written after <name>_9
    files.sort(key=lambda one: (len(one.name), one.name))
    if not files:
        got = ', '.join(one.name for one in there[:4]) or 'nothing there'
        raise ValueError(
            f'bag must be a .mcap or .db3 file or a folder with such files, got {path} ({got}). '
            'Name the file or folder that ros2 bag record made.'
        )
    listed = _listed_files(path) if path.is_dir() else []
    chosen = _follow(listed, files)
    if chosen:
        chosen += _continue(chosen[-1], files)
        return chosen, _describe(listed, chosen, files)
    return _take_each_once(path, files), ''


def bag_name(path: Path) -> str:
    """Return the name of a bag: that of its folder, or of its file without the ending."""
    if not path.is_dir():
        for ending in sorted(_ENDINGS, key=len, reverse=True):
            if path.name.endswith(ending):
                return path.name.removesuffix(ending)
    return path.resolve().name


def _listed_files(folder: Path) -> list[str]:
    """Return the file names in metadata.yaml; none if it is absent or damaged."""
    try:
        content = yaml.safe_load((folder / _METADATA).read_text(encoding='utf-8'))
        listed = content['rosbag2_bagfile_information']['relative_file_paths']
        return [PurePath(one).name for one in listed]  # the oldest bags name their folder, too
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return []


def _follow(listed: list[str], files: list[Path]) -> list[Path]:
    """Return the listed files, or what stands in for one that was packed or unpacked since."""
    by_name = {one.name: one for one in files}
    chosen = []
    for name in listed:
        other = name.removesuffix(_PACKED) if name.endswith(_PACKED) else name + _PACKED
        found = by_name.get(name, by_name.get(other))
        if found is not None and found not in chosen:
            chosen.append(found)
    return chosen


def _continue(last: Path, files: list[Path]) -> list[Path]:
    """Return the parts after the last listed one."""
    parts = [(one, _PART.fullmatch(one.name)) for one in files]
    end = _PART.fullmatch(last.name)
    return [
        one
        for one, part in parts
        if end and part and (part[1], part[3]) == (end[1], end[3]) and int(part[2]) > int(end[2])
    ]


def _describe(listed: list[str], chosen: list[Path], files: list[Path]) -> str:
    """Say which listed files are absent, and which recordings are there that nothing lists."""
    read = {_stem(one.name) for one in chosen}
    known = read | {_stem(name) for name in listed}
    absent = [name for name in listed if _stem(name) not in read]
    others = [one.name for one in files if _stem(one.name) not in known]
    described = []
    if absent:
        described.append(f'lacks {", ".join(absent)}, which {_METADATA} lists')
    if others:
        described.append(f'holds {", ".join(others)}, not read: {_METADATA} does not list it')
    return ' and '.join(described)


def _take_each_once(path: Path, files: list[Path]) -> list[Path]:
    """Return all files but packed copies of others; refuse one recording in two formats."""
    names = {one.name for one in files}
    files = [one for one in files if one.name.removesuffix(_PACKED) == one.name
             or one.name.removesuffix(_PACKED) not in names]  # fmt: skip
    first: dict[str, Path] = {}
    for one in files:
        same = first.setdefault(_stem(one.name), one)
        if same is not one:
            raise ValueError(
                f'bag must hold each recording once, got {same.name} and {one.name} in {path} '
                f'and no {_METADATA} that lists one of them. Name the file itself, or move the '
                'copy elsewhere.'
            )
    return files


def _stem(name: str) -> str:
    return PurePath(name.removesuffix(_PACKED)).stem
