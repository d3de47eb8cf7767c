"""Segments of many images <-> Parquet: six tables a part, one sidecar that describes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
import json
from pathlib import Path
import time
from typing import Any

from meta_ood_ros.core.files.whole_files import write_whole
from meta_ood_ros.core.files.whole_folders import recover_folder
from meta_ood_training.segments.schemas import (
    CORE_TABLES,
    FRAME_FIELDS,
    SCHEMAS,
    segment_schema,
)
from meta_ood_training.segments.schemas import FrameRows as FrameRows
from meta_ood_training.segments.schemas import TABLES as TABLES
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FORMAT = 'meta_ood.segments/2'
SIDECAR = 'segments.json'
#: Patterns of the files of a segment data set.
OURS = (SIDECAR, 'losses-*-of-*.json', *(f'{table}-*-of-*.parquet' for table in TABLES))
_FRAMES_A_ROW_GROUP = 500


class SegmentTableWriter:
    """Writes the part of one process; the files appear when it is closed without an error."""

    def __init__(
        self, folder: Path, metric_names: Sequence[str], *, part: int = 0, parts: int = 1
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.schemas = {**SCHEMAS, 'segments': segment_schema(metric_names)}
        self.paths = {table: part_path(folder, table, part, parts) for table in TABLES}
        for path in (*self.paths.values(), losses_path(folder, part, parts)):
            path.unlink(missing_ok=True)  # of a run before: it must not be taken for this one's
        self.counts = dict.fromkeys(TABLES, 0)
        self._pending: dict[str, list[pa.RecordBatch]] = {table: [] for table in TABLES}
        self._writers = {
            table: pq.ParquetWriter(_unfinished(self.paths[table]), self.schemas[table])
            for table in TABLES
        }

    def write(self, rows: FrameRows) -> None:
        """Add one image."""
        self._add('frames', {name: [value] for name, value in rows.frame.items()})
        shared = {name: rows.frame[name] for name, _ in FRAME_FIELDS}
        for table in TABLES:
            columns = {} if table == 'frames' else dict(getattr(rows, table))
            if not columns:
                continue
            length = len(next(iter(columns.values())))
            for name in self.schemas[table].names:
                if name not in columns:
                    columns[name] = [shared[name]] * length
            self._add(table, columns)
        self._flush_where_many()

    def append(self, tables: Mapping[str, pa.Table]) -> None:
        """Add images that another writer has written."""
        for name, table in tables.items():
            self._pending[name] += table.to_batches()
            self.counts[name] += len(table)
        self._flush_where_many()

    def close(self, *, keep: bool = True) -> None:
        """Finish the files, or remove them."""
        if keep:
            self._flush()
        for table, writer in self._writers.items():
            writer.close()
            unfinished = _unfinished(self.paths[table])
            if keep:
                unfinished.replace(self.paths[table])
            else:
                unfinished.unlink()

    def give_up(self) -> None:
        """Remove what cannot be finished, on a full disk too."""
        for table, writer in self._writers.items():
            with suppress(OSError, pa.ArrowException):
                writer.close()
            _unfinished(self.paths[table]).unlink(missing_ok=True)

    def _add(self, table: str, columns: Mapping[str, Any]) -> None:
        schema = self.schemas[table]
        arrays = [pa.array(columns[field.name], type=field.type) for field in schema]
        self._pending[table].append(pa.RecordBatch.from_arrays(arrays, schema=schema))
        self.counts[table] += len(arrays[0])

    def _flush_where_many(self) -> None:
        if sum(map(len, self._pending['frames'])) >= _FRAMES_A_ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        for table, batches in self._pending.items():
            if batches:
                self._writers[table].write_table(pa.Table.from_batches(batches).combine_chunks())
            batches.clear()


def part_path(folder: Path, table: str, part: int, parts: int) -> Path:
    """Return the file of one table of one part."""
    return folder / f'{table}-{part:05d}-of-{parts:05d}.parquet'


def losses_path(folder: Path, part: int, parts: int) -> Path:
    """Return the file that lists what one part lost; there is none where it lost nothing."""
    return folder / f'losses-{part:05d}-of-{parts:05d}.json'


def write_losses(folder: Path, losses: Sequence[str], *, part: int, parts: int) -> None:
    """Write what one part lost, if anything, beside its tables."""
    if losses:
        text = json.dumps(list(losses), indent=2)
        write_whole(losses_path(folder, part, parts), text + '\n')


def wait_for_parts(folder: Path, parts: int) -> None:
    """Return when all parts and the sidecar are written."""
    last = [part_path(folder, TABLES[-1], part, parts) for part in range(parts)]
    while not all(path.exists() for path in (*last, folder / SIDECAR)):
        time.sleep(0.1)


def write_sidecar(folder: Path, content: Mapping[str, Any]) -> None:
    """Write what the tables are: model, thresholds, label rule, grid; see `read_sidecar`."""
    text = json.dumps({'format': FORMAT, **content}, indent=2)
    write_whole(folder / SIDECAR, text + '\n')


def read_sidecar(folder: Path) -> dict[str, Any]:
    """
    Return the sidecar of a segment data set, after checking that all its parts are there.

    Raises
    ------
    ValueError
        The folder is no segment data set, or a part is missing.

    """
    recover_folder(folder)
    try:
        content = json.loads((folder / SIDECAR).read_text(encoding='utf-8'))
        written = content['format']
        parts = int(content['parts'])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{folder} must be a folder written by meta-ood-train segments, got: {error!r}. '
            'Extract the segments first.'
        ) from error
    if written != FORMAT:
        raise ValueError(
            f'{folder} must hold segments of format {FORMAT!r}, got {written!r}. Extract them '
            'again with this version: meta-ood-train segments'
        )
    needed = [one for one in TABLES if one not in CORE_TABLES or content.get('core_thresholds')]
    paths = [part_path(folder, table, part, parts) for table in needed for part in range(parts)]
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        raise ValueError(
            f'{folder} must hold {parts} parts of each table, got none of '
            f'{", ".join(missing[:4])}. A process has not finished: run it again.'
        )
    for part in range(parts):
        path = losses_path(folder, part, parts)
        if path.exists():
            lost = json.loads(path.read_text(encoding='utf-8'))
            content['lost'] = list(dict.fromkeys([*content.get('lost', []), *lost]))
    return content


def read_table(
    folders: Iterable[Path],
    table: str,
    *,
    columns: Sequence[str] | None = None,
    entropy_threshold: float | None = None,
    core_threshold: float | None = None,
    frames: np.ndarray | None = None,
) -> pa.Table:
    """
    Return one table of one or more data sets, in the order of the frames.

    Parameters
    ----------
    frames : ndarray of int64, optional
        Only rows of these frames, numbered over all folders.

    Returns
    -------
    pyarrow.Table
        Sorted by frame; within a frame as written. Rows that are not wanted are dropped batch
        by batch, so that memory follows what is kept.

    """
    thresholds = {'entropy_threshold': entropy_threshold, 'core_threshold': core_threshold}
    wanted = {name: value for name, value in thresholds.items() if value is not None}
    pieces = []
    offset = 0
    for folder in folders:
        parts = int(read_sidecar(folder)['parts'])
        kept: list[pa.RecordBatch] = []
        for part in range(parts):
            path = part_path(folder, table, part, parts)
            # a folder without cores may be older than their tables: `read_sidecar` has looked
            file = None if table in CORE_TABLES and not path.exists() else pq.ParquetFile(path)
            there = SCHEMAS[table] if file is None else file.schema_arrow
            names = there.names
            if columns is not None:
                names = [name for name in names if name in {'frame', *columns, *wanted}]
            schema = pa.schema([there.field(name) for name in names])
            for batch in file.iter_batches(columns=names) if file is not None else ():
                number = batch['frame'].to_numpy() + offset
                mask = np.ones(len(number), dtype=bool)
                if frames is not None:
                    mask &= np.isin(number, frames)
                for name, value in wanted.items():
                    mask &= np.isclose(batch[name], value)
                column = batch.schema.get_field_index('frame')
                batch = batch.set_column(column, batch.schema.field(column), pa.array(number))
                kept.append(batch if mask.all() else batch.filter(pa.array(mask)))
        piece = pa.Table.from_batches([one for one in kept if len(one)], schema=schema)
        order = np.argsort(piece['frame'].to_numpy(), kind='stable')
        pieces.append(piece if np.all(np.diff(order) == 1) else piece.take(order))
        offset += _count_frames(folder, parts)
    return pa.concat_tables(pieces)


def _count_frames(folder: Path, parts: int) -> int:
    """Return one more than the largest frame number."""
    largest = -1
    for part in range(parts):
        frames = pq.read_table(part_path(folder, 'frames', part, parts), columns=['frame'])
        largest = max(largest, int(np.max(frames['frame'].to_numpy(), initial=-1)))
    return largest + 1


def _unfinished(path: Path) -> Path:
    return path.with_name(f'.{path.name}.unfinished')
