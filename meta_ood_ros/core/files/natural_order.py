"""Names with numbers in the order of the numbers."""

from collections.abc import Iterable
from pathlib import Path
import re


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Return paths sorted so that 9.jpg comes before 10.jpg, folder by folder."""
    return sorted(paths, key=lambda path: ([_pieces(one) for one in path.parts[:-1]], _of(path)))


def _of(path: Path) -> tuple[list[tuple[str, int]], str]:
    # the stem first: 9.jpg stands beside 9.png, and a1.jpg before a1b.jpg
    return _pieces(path.stem), path.suffix


def _pieces(text: str) -> list[tuple[str, int]]:
    return [(word, int(digits or 0)) for word, digits in re.findall(r'(\D*)(\d*)', text)]
