"""COCO segmentations (polygons, run lengths) -> masks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def decode_segmentation(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """
    Return the mask of one COCO annotation.

    Parameters
    ----------
    segmentation : list or dict
        A list of polygons [x0, y0, x1, y1, ...] in px, or {'size': [H, W], 'counts': ...} with
        run lengths as a list of int or as COCO's compressed string.

    Returns
    -------
    ndarray of shape (H, W), bool

    """
    if isinstance(segmentation, Mapping):
        if tuple(segmentation.get('size', ())) != tuple(size):
            raise ValueError(
                f'size of the run lengths must be {list(size)} like the image, got '
                f'{segmentation.get("size")}. The annotation belongs to another image.'
            )
        counts = segmentation.get('counts', ())
        if isinstance(counts, bytes):
            counts = counts.decode('ascii')
        runs = decompress_counts(counts) if isinstance(counts, str) else counts
        return decode_runs(runs, size)
    mask = np.zeros(size, bool)
    for polygon in segmentation:
        mask |= fill_polygon(polygon, size)
    return mask


def decode_runs(counts: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """
    Return the mask of uncompressed run lengths.

    Returns
    -------
    ndarray of shape (H, W), bool

    """
    lengths = np.asarray(counts, np.int64)
    pixels = size[0] * size[1]
    if lengths.size == 0 or lengths.min() < 0 or lengths.sum() != pixels:
        raise ValueError(
            f'run lengths must be non-negative and add up to {size[0]} x {size[1]} = {pixels} '
            f'pixels, got a sum of {lengths.sum()}. The annotation is damaged.'
        )
    values = np.arange(lengths.size) % 2 == 1
    return np.repeat(values, lengths).reshape(size, order='F')


def encode_runs(mask: np.ndarray) -> list[int]:
    """
    Return the uncompressed run lengths of a mask.

    Parameters
    ----------
    mask : ndarray of shape (H, W), bool
        Any mask.

    """
    column = np.asarray(mask, bool).ravel(order='F')
    changes = np.flatnonzero(np.diff(column, prepend=False))
    return np.diff(np.concatenate([[0], changes, [column.size]])).tolist()


def decompress_counts(text: str) -> list[int]:
    """
    Return the run lengths in COCO's compressed string.

    Notes
    -----
    Every number is a string of 5-bit digits, lowest first, each as character 48 + digit, + 32
    where another digit follows; bit 16 of the last digit is the sign. From the fourth number on,
    what is written is the difference from the number two before.

    """
    counts: list[int] = []
    value, shift = 0, 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64:
            raise ValueError(
                f"compressed run lengths must hold characters '0' to 'o', got {character!r}. "
                f'The annotation is damaged.'
            )
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value, shift = 0, 0
    if shift:
        raise ValueError(
            f'compressed run lengths must end with a last digit, got {text[-8:]!r} at the end. '
            f'The annotation is cut off.'
        )
    return counts


def fill_polygon(corners: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """
    Return the pixels whose centre lies inside a polygon.

    Parameters
    ----------
    corners : sequence of float
        x0, y0, x1, y1, ... in px; pixel (row, column) covers [column, column + 1) in x.

    Returns
    -------
    ndarray of shape (H, W), bool

    Notes
    -----
    Even-odd rule. A centre on a left or upper edge is inside, on a right or lower one outside,
    so polygons that share an edge share no pixel.

    """
    points = np.asarray(corners, np.float64).reshape(-1, 2)
    if len(points) < 3:
        raise ValueError(
            f'a polygon must have at least 3 corners, got {len(points)}. '
            f'The annotation is damaged.'
        )
    height, width = size
    # Crossing k of an edge with row r flips all pixels whose centre lies right of it: a
    # difference image whose running sum's parity is the inside.
    flips = np.zeros((height, width + 1), np.int32)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        if y0 > y1:
            x0, y0, x1, y1 = x1, y1, x0, y0
        first = max(int(np.ceil(y0 - 0.5)), 0)
        last = min(int(np.ceil(y1 - 0.5)), height)
        if first >= last:
            continue
        rows = np.arange(first, last)
        crossings = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
        columns = np.clip(np.ceil(crossings - 0.5), 0, width).astype(np.int64)
        np.add.at(flips, (rows, columns), 1)
    return (np.cumsum(flips[:, :-1], axis=1) % 2).astype(bool)
