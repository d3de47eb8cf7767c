"""Files that are the old or the new whole, whenever their writer ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
import errno
import fcntl
import hashlib
import os
from pathlib import Path
import re
import secrets
import shutil
from typing import BinaryIO

UNFINISHED, OLD = 'unfinished', 'old'
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class NoSpaceError(OSError):
    """The disk is full; what stood there before is whole."""


@contextmanager
def replace_whole(path: Path) -> Iterator[BinaryIO]:
    """
    Open a file for writing that takes the place of another once everything is on the disk.

    Parameters
    ----------
    path : Path
        Stays what it was where an error leaves the block. Who may read it says the umask.

    """
    target = Path(os.path.realpath(path))  # a link goes on to point to the file
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent, target.name)
    with explained(path):
        beside, stream = _open_beside(target)
        try:
            with stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
                beside.replace(target)
            sync(target.parent)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file as a whole, or leave what was there."""
    with replace_whole(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def _open_beside(target: Path) -> tuple[Path, BinaryIO]:
    """Return a new file beside another, locked so that nobody takes it for a leftover."""
    while True:
        beside = name_beside(target.parent, target.name, UNFINISHED)
        # Not by tempfile, whose files only their owner may read.
        stream = beside.open('xb')
        hold_lock(stream.fileno())
        if beside.exists():
            return beside, stream
        stream.close()  # taken for a leftover before it was locked


def name_beside(folder: Path, name: str, kind: str) -> Path:
    """Return a new hidden name that `leftovers` finds."""
    return folder / f'.{_stem(name)}.{secrets.token_hex(6)}.{kind}'


def _stem(name: str) -> str:
    """Return a name that leaves room for more: file systems end at 255 bytes."""
    raw = os.fsencode(name)
    return name if len(raw) <= 200 else hashlib.sha256(raw).hexdigest()[:32]


def leftovers(folder: Path, name: str, kind: str) -> list[Path]:
    """Return what was begun beside a file or folder and not brought to its end."""
    pattern = re.compile(rf'\.{re.escape(_stem(name))}\.[0-9a-f]{{12}}\.{kind}')
    with suppress(OSError):
        return [one for one in folder.iterdir() if pattern.fullmatch(one.name)]
    return []


def remove_leftovers(folder: Path, name: str) -> None:
    """Delete what killed processes have left; what a living one writes is locked."""
    for kind in (UNFINISHED, OLD):
        for path in leftovers(folder, name, kind):
            with abandoned(path) as is_abandoned:
                if not is_abandoned:
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


@contextmanager
def abandoned(path: Path) -> Iterator[bool]:
    """Hold the lock of a leftover, and say whether nobody else did."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_abandoned = True
    except OSError:  # held, or a file system without locks
        is_abandoned = False
    try:
        yield is_abandoned
    finally:
        os.close(descriptor)


def hold_lock(descriptor: int) -> None:
    """Lock a file or folder until its descriptor is closed, by the end of the process at last."""
    with suppress(OSError):  # a file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def sync(path: Path) -> None:
    """Have what a file or folder holds on the disk, where the file system can be asked."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.EROFS):  # cannot be asked
            raise
    finally:
        os.close(descriptor)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say in one sentence that the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        reason = NoSpaceError(
            f'{path} must be written whole, got: {os.strerror(error.errno)}. What stood there '
            'before is unchanged: free some space and repeat the command.'
        )
        reason.errno = error.errno
        raise reason from error
