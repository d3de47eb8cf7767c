"""Folders that change places with their successors in one step: the old or the new whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
import ctypes
from fnmatch import fnmatch
import os
from pathlib import Path
import shutil

from meta_ood_ros.core.files.whole_files import (
    abandoned,
    explained,
    hold_lock,
    leftovers,
    name_beside,
    OLD,
    remove_leftovers,
    sync,
    UNFINISHED,
)

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
#: A folder that holds more files of others is written into file by file.
_MOST_CARRIED = 1000


@contextmanager
def replace_folder(path: Path, *, ours: Sequence[str] = ()) -> Iterator[Path]:
    """
    Make a new folder that takes the place of another in one step, files of others kept.

    Parameters
    ----------
    path : Path
        Stays what it was where an error leaves the block.
    ours : sequence of str
        Patterns of the files that a folder before may hold and the new one need not.

    Notes
    -----
    Both folders change places by renameat2. Where the file system cannot do that, the old one is
    first renamed to `.<name>.<12 hex>.old`, which `recover_folder` undoes at the next reading or
    writing if the process ended in between. Where the folder itself cannot be moved (a mount
    point, the working directory, a parent that is not ours), its files are replaced one by one.

    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(
            f'output must be a folder, got {str(path)!r}, which is a file. Choose another.'
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    recover_folder(target)
    is_fixed = _is_fixed(target, ours)
    for place in (target.parent, target):
        remove_leftovers(place, target.name)
    with explained(path):
        made, lock = _make_beside(target, target if is_fixed else target.parent)
        try:
            yield made
            _sync_tree(made)
            if target.is_dir() and not is_fixed:
                shutil.copymode(target, made)
                _carry_over(target, made, ours)
            if is_fixed or not _swap(made, target):
                _replace_each(made, target, ours)
            sync(target.parent)
        finally:
            shutil.rmtree(made, ignore_errors=True)  # the old one, or what was not finished
            os.close(lock)


def recover_folder(path: Path) -> None:
    """Put back a folder whose writer was killed between two renames; see `replace_folder`."""
    target = Path(os.path.realpath(path))
    if target.exists() or not target.parent.is_dir():
        return
    for old in leftovers(target.parent, target.name, OLD):
        with abandoned(old) as is_abandoned, suppress(OSError):  # another may be quicker
            if is_abandoned:
                old.rename(target)
                return


def _swap(made: Path, target: Path) -> bool:
    """Let a new folder and what stands there change places; False where nothing was moved."""
    with suppress(OSError):
        made.rename(target)  # nothing there, or an empty folder
        return True
    if not target.is_dir():
        made.rename(target)  # why not?
    if _exchange(made, target):
        return True
    lock = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        hold_lock(lock)
        old = name_beside(target.parent, target.name, OLD)
        try:
            target.rename(old)
        except OSError:
            return False
        try:
            made.rename(target)
        except BaseException:
            old.rename(target)
            raise
        sync(target.parent)
        shutil.rmtree(old, ignore_errors=True)
        return True
    finally:
        os.close(lock)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; False where the system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), 'renameat2', None)
    if rename is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    flags = ctypes.c_uint(_RENAME_EXCHANGE)
    return bool(rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], flags) == 0)


def _is_fixed(target: Path, ours: Sequence[str]) -> bool:
    """Return whether a folder has to stay where it is."""
    if not target.is_dir():
        return False
    working = Path.cwd()
    if target == working or target in working.parents or target.is_mount():
        return True
    if not os.access(target.parent, os.W_OK):
        return True
    carried = 0
    for _, folders, files in os.walk(target):
        carried += sum(not _is_ours(name, ours) for name in (*folders, *files))
        if carried > _MOST_CARRIED:
            return True
    return False


def _is_ours(name: str, ours: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in ours)


def _carry_over(target: Path, made: Path, ours: Sequence[str]) -> None:
    """Give the new folder what others have put into the old one."""
    for entry in target.iterdir():
        new = made / entry.name
        if entry.is_dir() and not entry.is_symlink():
            if not _is_ours(entry.name, ours):
                new.mkdir(exist_ok=True)
                shutil.copymode(entry, new)
                _carry_over(entry, new, ())
        elif not new.exists() and not _is_ours(entry.name, ours):
            try:
                os.link(entry, new, follow_symlinks=False)
            except OSError:
                shutil.copy2(entry, new, follow_symlinks=False)


def _replace_each(made: Path, target: Path, ours: Sequence[str]) -> None:
    """Replace the files of a folder one by one, then remove those that went out of use."""
    names = {entry.name for entry in made.iterdir()}
    _move_into(made, target)
    for entry in target.iterdir():
        if entry.name not in names and _is_ours(entry.name, ours):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def _move_into(made: Path, target: Path) -> None:
    for entry in sorted(made.iterdir()):
        if entry.is_dir() and (target / entry.name).is_dir():
            _move_into(entry, target / entry.name)
        else:
            entry.replace(target / entry.name)
    sync(target)


def _make_beside(target: Path, parent: Path) -> tuple[Path, int]:
    """Return a new folder and the descriptor that locks it."""
    while True:
        made = name_beside(parent, target.name, UNFINISHED)
        made.mkdir()
        with suppress(FileNotFoundError):  # taken for a leftover before it was locked
            lock = os.open(made, os.O_RDONLY | os.O_CLOEXEC)
            hold_lock(lock)
            if made.exists():
                return made, lock
            os.close(lock)


def _sync_tree(folder: Path) -> None:
    for here, _, names in os.walk(folder):
        for name in names:
            sync(Path(here) / name)
        sync(Path(here))
