"""A table of a run that grows by a row at a time, on the disk."""

from collections.abc import Sequence
import csv
import io
from pathlib import Path
from typing import Any

from meta_ood_ros.core.files.whole_files import explained, write_whole

LOSS_FILE = 'loss.csv'
VALIDATION_FILE = 'validation.csv'
LOG_FILES = (LOSS_FILE, VALIDATION_FILE)
PIXELS = {'l_in': 'in_distribution_px', 'l_out': 'ood_px'}
"""Mean of a term -> the column with its pixels."""


def read_rows(path: Path) -> list[dict[str, str]]:
    """
    Return the rows of a CSV file.

    Parameters
    ----------
    path : Path
        May be missing; a last row cut short by a kill is left out.

    """
    if not path.is_file():
        return []
    with path.open(newline='', encoding='utf-8') as stream:
        rows = csv.DictReader(stream)
        return [row for row in rows if None not in row and None not in row.values()]


def append_row(path: Path, columns: Sequence[str], row: dict[str, Any]) -> None:
    is_new = not path.is_file() or path.stat().st_size == 0
    with explained(path), path.open('a', newline='', encoding='utf-8') as stream:
        writer = csv.DictWriter(stream, columns)
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def keep_rows(path: Path, columns: Sequence[str], column: str, end: int) -> None:
    """Drop all rows from `end` on; what is kept stays on the disk whatever happens meanwhile."""
    if not path.is_file():
        return
    text = io.StringIO(newline='')
    kept = [row for row in read_rows(path) if int(row[column]) < end]
    if kept:
        # Rows of earlier versions may lack columns.
        writer = csv.DictWriter(text, columns, restval='', extrasaction='ignore')
        writer.writeheader()
        writer.writerows(kept)
    content = text.getvalue().encode()
    if content != path.read_bytes():
        write_whole(path, content)
