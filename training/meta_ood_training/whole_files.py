"""Files that are whole or absent, whenever the process that writes them ends."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
import os
from pathlib import Path
import secrets
from typing import Any, BinaryIO

from lightning.pytorch.plugins.io import TorchCheckpointIO
import torch


@contextmanager
def replace_whole(path: Path) -> Iterator[BinaryIO]:
    """
    Open a file for writing that takes the place of another once everything is on the disk.

    Parameters
    ----------
    path : Path
        Stays what it was where an error leaves the block. Who may read it says the umask.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by tempfile, whose files only their owner may read.
    beside = path.with_name(f'.{path.name}-{secrets.token_hex(6)}')
    try:
        with beside.open('xb') as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def save_whole(record: Any, path: Path) -> None:
    """Write a record with torch.save, or leave what was there."""
    with replace_whole(path) as stream:
        torch.save(record, stream)


def remove_leftovers(folder: Path, names: Sequence[str]) -> None:
    """Delete what a process that was killed while it wrote has left of these files."""
    for name in names:
        for path in folder.glob(f'.{name}-*'):
            path.unlink()


class WholeFiles(TorchCheckpointIO):
    """Lightning's checkpoints, written by `save_whole`."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint."""
        save_whole(checkpoint, Path(path))
