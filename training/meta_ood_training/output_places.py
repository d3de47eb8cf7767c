"""What stands at `--output` is not replaced unless the command says so."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_overwrite(parser: argparse._ActionsContainer) -> None:
    """Declare --overwrite."""
    parser.add_argument('--overwrite', action='store_true', help='replace what is in --output')


def check_free(path: Path | None, *, overwrite: bool, option: str = '--output') -> None:
    """Refuse a file, or a folder that holds something."""
    if path is None or overwrite or not path.exists():
        return
    if path.is_dir():
        there = sorted(one.name for one in path.iterdir())
        if not there:
            return
        held = f'which holds {", ".join(there[:3])}{", ..." if len(there) > 3 else ""}'
    else:
        held = 'a file'
    raise ValueError(
        f'{option} must be new, got {path}, {held}. Choose another, or add --overwrite.'
    )
