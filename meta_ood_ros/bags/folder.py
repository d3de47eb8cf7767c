"""A bag's path -> its storage files in the order of writing, each recording once."""

from __future__ import annotations

from pathlib import Path, PurePath
import re
from typing import Any

import yaml

_METADATA = 'metadata.yaml'
_METADATA_LIMIT = 2**24
# The other one takes hours over brackets in brackets.
_LOADER = getattr(yaml, 'CBaseLoader', yaml.BaseLoader)
_DIGITS = 20  # of a number of 64 bits, at most
_PACKED = '.zstd'
# <name>_<number>.<ending>: the parts of a bag that was split while it was recorded
_PART = re.compile(r'(.*_)(\d+)(\..*)')
_ENDINGS = ('.mcap', '.db3', f'.mcap{_PACKED}', f'.db3{_PACKED}')
# First bytes of a bag, whatever it is called; and of one that ROS 1 recorded.
_MAGICS = (b'\x89MCAP0\r\n', b'SQLite format 3\0')
_ROS1_MAGIC = b'#ROSBAG V'


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
    if path.is_file() and read_head(path).startswith(_MAGICS):
        files = there
    _refuse_ros1(files or there)
    _refuse_pipes(files)
    files.sort(key=_by_part)
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


def _refuse_pipes(files: list[Path]) -> None:
    for one in files:
        if one.exists() and not (one.is_file() or one.is_dir()):
            raise ValueError(
                f'bag must lie in files, got a pipe or device: {one}. Write it to a file first.'
            )


def read_head(file: Path) -> bytes:
    """Return the first bytes of a file; none of what is no file, or cannot be read."""
    if not file.is_file():  # a pipe would be waited for
        return b''
    try:
        with file.open('rb') as content:
            return content.read(16)
    except OSError:
        return b''


def _by_part(file: Path) -> tuple[str, int, str]:
    """Sort <name>_9 before <name>_10, which was written after it."""
    part = _PART.fullmatch(file.name)
    return (part[1], int(part[2]), part[3]) if part else (file.name, 0, '')


def _refuse_ros1(files: list[Path]) -> None:
    for one in files:
        if read_head(one).startswith(_ROS1_MAGIC):
            raise ValueError(
                f'bag must be a .mcap or .db3 file of ROS 2, got a bag of ROS 1: {one}. Convert '
                f'it: pip install rosbags; rosbags-convert --src {one.name} --dst {one.stem}_ros2 '
                '--dst-storage mcap. (mcap convert does not do: it keeps the messages of ROS 1.)'
            )


def bag_name(path: Path) -> str:
    """Return the name of a bag: that of its folder, or of its file without the ending."""
    if not path.is_dir():
        for ending in sorted(_ENDINGS, key=len, reverse=True):
            if path.name.endswith(ending):
                return path.name.removesuffix(ending)
    return path.resolve().name


def listed_counts(folder: Path, files: list[Path]) -> dict[str, int]:
    """Return the messages of each topic as metadata.yaml has them, if it lists these files."""
    information = _read_metadata(folder)
    if len(_listed_files(folder)) != len(files):
        return {}
    counts: dict[str, int] = {}
    topics = information.get('topics_with_message_count')
    for one in topics if isinstance(topics, list) else []:
        described = one.get('topic_metadata') if isinstance(one, dict) else None
        name = described.get('name') if isinstance(described, dict) else None
        count = str(one.get('message_count')) if isinstance(one, dict) else ''
        if isinstance(name, str) and count.isdecimal() and len(count) < _DIGITS:
            counts[name] = counts.get(name, 0) + int(count)
    return counts


def _listed_files(folder: Path) -> list[str]:
    """Return the file names in metadata.yaml; none if it is absent or damaged."""
    listed = _read_metadata(folder).get('relative_file_paths')
    # the oldest bags name their folder, too
    return [
        PurePath(one).name
        for one in (listed if isinstance(listed, list) else [])
        if isinstance(one, str)
    ]


def _read_metadata(folder: Path) -> dict[str, Any]:
    """Return what metadata.yaml says of the bag; nothing if it is absent or damaged."""
    try:
        with (folder / _METADATA).open('rb') as file:
            text = file.read(_METADATA_LIMIT + 1)
        if len(text) > _METADATA_LIMIT:
            return {}
        # Text, lists and mappings alone: what nobody asks for cannot be malformed.
        content = yaml.load(text, Loader=_LOADER)
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        return {}
    information = content.get('rosbag2_bagfile_information') if isinstance(content, dict) else None
    return information if isinstance(information, dict) else {}


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
