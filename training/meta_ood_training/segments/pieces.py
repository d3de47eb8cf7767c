"""Frames that are done, kept until all are: what an interrupted run goes on from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
import json
import os
from pathlib import Path
import shutil
import time
from typing import Any

from meta_ood_ros.core.files.whole_files import explained, write_whole
from meta_ood_training.output_places import hold_folder
from meta_ood_training.segments.schemas import FrameRows, TABLES
from meta_ood_training.segments.table import part_path, SegmentTableWriter
import pyarrow as pa
import pyarrow.parquet as pq

_DESCRIPTION = 'run.json'
_PIECE_SECONDS = 20.0
_PIECE_FRAMES = 500


class Pieces:
    """
    The rows of one process so far, each piece of them a folder of whole files.

    Parameters
    ----------
    folder : Path
        Of this process alone.
    metric_names : sequence of str
        Columns of the table of segments.

    """

    def __init__(self, folder: Path, metric_names: Sequence[str]) -> None:
        self.folder = folder
        self.metric_names = metric_names
        self.done: set[int] = set()
        self._writer: SegmentTableWriter | None = None
        self._begun = 0.0
        self._whole: list[Path] = []
        for piece in sorted(folder.iterdir()):
            if piece.is_dir():
                self._take(piece)

    def write(self, rows: FrameRows) -> None:
        """Add one image."""
        if self._writer is None:
            self._writer = SegmentTableWriter(self._next(), self.metric_names)
            self._begun = time.monotonic()
        self._writer.write(rows)
        full = self._writer.counts['frames'] >= _PIECE_FRAMES
        if full or time.monotonic() - self._begun > _PIECE_SECONDS:
            self.finish()

    def finish(self) -> None:
        """Have all images so far on the disk."""
        writer, self._writer = self._writer, None
        if writer is not None:
            piece = self._next()
            try:
                writer.close()
            except BaseException:
                writer.give_up()
                shutil.rmtree(piece, ignore_errors=True)
                raise
            self._take(piece)

    def join(self, writer: SegmentTableWriter) -> None:
        """Give all rows to the writer of the tables."""
        self.finish()
        for piece in self._whole:
            writer.append({table: pq.read_table(_file(piece, table)) for table in TABLES})

    def _next(self) -> Path:
        return self.folder / f'{len(self._whole):05d}'

    def _take(self, piece: Path) -> None:
        """Count the images of a piece; one that is not whole is made again."""
        try:
            frames = pq.read_table(_file(piece, 'frames'), columns=['frame'])
            for table in TABLES:
                pq.ParquetFile(_file(piece, table)).close()
        except (OSError, pa.ArrowException):
            shutil.rmtree(piece)
            return
        place = self._next()
        if piece != place:  # one before it was not whole
            piece.rename(place)
        self._whole.append(place)
        self.done.update(frames['frame'].to_pylist())


def _file(piece: Path, table: str) -> Path:
    return part_path(piece, table, 0, 1)


def has_pieces(output: Path, part: int, parts: int) -> bool:
    """Return whether an interrupted run can be gone on with."""
    return (_of_process(output, part, parts) / _DESCRIPTION).is_file()


@contextmanager
def hold_pieces(
    output: Path,
    part: int,
    parts: int,
    facts: Mapping[str, Any],
    metric_names: Sequence[str],
    *,
    resume: bool,
    overwrite: bool,
) -> Iterator[Pieces]:
    """
    Give this process its pieces, alone; they stay where an error leaves the block.

    Parameters
    ----------
    facts : mapping of str
        Plain values that a run to go on with must have had, too.
    resume, overwrite : bool
        Go on with what an earlier run has left, or throw it away; else it is refused.

    """
    folder = _of_process(output, part, parts)
    with hold_folder(folder, shown=output), explained(output):
        pieces = None
        try:
            _begin(folder, output, facts, resume=resume, overwrite=overwrite)
            pieces = Pieces(folder, metric_names)
            yield pieces
        except BaseException:
            with suppress(OSError, pa.ArrowException):  # of a full disk: the cause is raised
                if pieces is not None:
                    pieces.finish()
            if not _has_any(folder):
                _remove(folder)
            raise
        _remove(folder)


def _begin(
    folder: Path, output: Path, facts: Mapping[str, Any], *, resume: bool, overwrite: bool
) -> None:
    description = folder / _DESCRIPTION
    if not (resume or overwrite) and _has_any(folder):
        raise ValueError(
            f'output must be a folder without an unfinished run, got {output}. Add --resume to go '
            'on with it, or --overwrite to begin anew.'
        )
    if resume and description.is_file():
        _check_same(json.loads(description.read_text(encoding='utf-8')), facts)
        return
    for one in folder.iterdir():
        shutil.rmtree(one) if one.is_dir() else one.unlink()
    write_whole(description, json.dumps(facts, indent=1) + '\n')


def _has_any(folder: Path) -> bool:
    return any(one.is_dir() for one in folder.iterdir())


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # another process of the same run has pieces there
        folder.parent.rmdir()


def _of_process(output: Path, part: int, parts: int) -> Path:
    """Return the folder of the pieces: beside the output, or in it where only that is ours."""
    target = Path(os.path.realpath(output))
    place = target.parent / f'.{target.name[:200]}.pieces'
    if target.is_dir() and not os.access(target.parent, os.W_OK):
        place = target / '.pieces'
    return place / f'{part:05d}-of-{parts:05d}'


def _check_same(earlier: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    for key, value in facts.items():
        if earlier.get(key) != value:
            raise ValueError(
                f'--resume must go on as the run was begun, with {key} {earlier.get(key)!r}, got '
                f'{value!r}. Repeat its options, or begin anew with --overwrite.'
            )
