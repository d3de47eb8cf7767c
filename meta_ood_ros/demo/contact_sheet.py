"""Many frames on one page."""

from __future__ import annotations

import math

import cv2
import numpy as np

_TILE_WIDTH, _GAP, _CAPTION, _HEADER = 480, 6, 24, 48
_PAPER, _INK, _FAINT = (24, 26, 30), (236, 238, 240), (170, 174, 180)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class ContactSheet:
    """Collects small pictures, evenly spaced over a run, and lays them out."""

    def __init__(self, expected: int, most: int = 24) -> None:
        shown = min(max(expected, 1), most)
        # The first is among them, so that a run that is broken off has a sheet, too.
        self._wanted = {k * expected // shown for k in range(shown)}
        self._tiles: list[tuple[np.ndarray, str]] = []

    def wants(self, number: int) -> bool:
        """Return whether frame `number`, from 0, is to be shown."""
        return number in self._wanted

    def add(self, picture: np.ndarray, caption: str) -> None:
        """
        Append a tile.

        Parameters
        ----------
        picture : ndarray of shape (H, W, 3), uint8
            RGB, any size.

        """
        height = max(round(picture.shape[0] * _TILE_WIDTH / picture.shape[1]), 1)
        kind = cv2.INTER_AREA if picture.shape[1] > _TILE_WIDTH else cv2.INTER_CUBIC
        self._tiles.append(
            (cv2.resize(picture, (_TILE_WIDTH, height), interpolation=kind), caption)
        )

    def draw(self, title: str) -> np.ndarray | None:
        """
        Return the page, or None without any tile.

        Returns
        -------
        ndarray of shape (h, w, 3), uint8
            RGB; up to four tiles beside each other, all rows as high as the highest tile.

        """
        if not self._tiles:
            return None
        columns = min(4, max(1, math.ceil(math.sqrt(len(self._tiles)))))
        rows = math.ceil(len(self._tiles) / columns)
        cell = max(tile.shape[0] for tile, _ in self._tiles) + _CAPTION + _GAP
        page = np.empty(
            (_HEADER + rows * cell + _GAP, columns * (_TILE_WIDTH + _GAP) + _GAP, 3), np.uint8
        )
        page[:] = _PAPER
        _write(page, title, (_GAP + 4, 31), 0.65, _INK)
        for number, (tile, caption) in enumerate(self._tiles):
            x = _GAP + (number % columns) * (_TILE_WIDTH + _GAP)
            y = _HEADER + (number // columns) * cell
            page[y : y + tile.shape[0], x : x + _TILE_WIDTH] = tile
            _write(page, caption, (x + 4, y + tile.shape[0] + 16), 0.42, _FAINT)
        return page


def _write(page: np.ndarray, text: str, at: tuple[int, int], size: float, colour: tuple) -> None:
    text = text.encode('ascii', 'replace').decode()
    cv2.putText(page, text, at, _FONT, size, colour, 1, cv2.LINE_AA)
