"""
Scores of labelled pixels -> counts on the order of float32, without keeping a pixel.

A float32 read as an integer keeps its order once the sign is folded in. Cutting the lowest
`DROPPED_BITS` of that integer gives bins that hold scores equal to within 2**-17 of their value,
everywhere on the axis, so nothing need be known about a score's range. Closely below 1, where
probabilities and entropies crowd, every float32 has a bin of its own. What a bin hides is bounded
and printed (`pixel_scores`); a second pass over the few bins that decide a value makes that value
exact (`RefinedCounts`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

DROPPED_BITS = 6
_BLOCK_BITS = 23
_BINS_PER_BLOCK = 1 << (_BLOCK_BITS - DROPPED_BITS)
_BLOCKS = 1 << (32 - _BLOCK_BITS)
_NEAR_ONE = _BLOCKS
_NEAR_ONE_END = (0x3F800000 | 1 << 31) + (1 << DROPPED_BITS)
_NEAR_ONE_START = _NEAR_ONE_END - _BINS_PER_BLOCK

COUNTS_LAYOUT = 'float32 less 6 bits, all of them from 0.9921913 to 1'
"""Of the bins, for files of counts: those of another layout do not add up with these."""


def to_ordered_keys(scores: NDArray[np.floating]) -> NDArray[np.uint32]:
    """
    Return integers in the order of the scores.

    Parameters
    ----------
    scores : ndarray, any shape
        Read as float32; larger = more OoD.

    Returns
    -------
    ndarray of uint32, flat
        Equal where and only where the float32 scores are equal; -0 equals 0.

    """
    flat = np.ascontiguousarray(scores, np.float32).ravel() + np.float32(0)  # -0 becomes 0
    if np.isnan(flat).any():
        raise ValueError(
            f'scores must not be NaN, got {int(np.isnan(flat).sum())} NaN among {flat.size}. '
            f'Check the network on this image.'
        )
    bits = flat.view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint32)


def to_scores(keys: NDArray[np.uint32]) -> NDArray[np.float32]:
    """
    Return the scores of ordered keys: the inverse of `to_ordered_keys`.

    Parameters
    ----------
    keys : ndarray of uint32
        Any shape.

    Returns
    -------
    ndarray of float32, same shape

    """
    keys = np.asarray(keys, np.uint32)
    bits = np.where(keys >> 31, keys & np.uint32(0x7FFFFFFF), ~keys).astype(np.uint32)
    return bits.view(np.float32)


@dataclass(frozen=True, eq=False)
class ScoreCounts:
    """
    Occupied bins from the highest score down.

    Attributes
    ----------
    keys : ndarray of shape (B,), uint32
        Lowest ordered key of each bin, descending.
    positives, negatives : ndarray of shape (B,), int64
        OoD and in-distribution pixels in each bin.
    exact : ndarray of shape (B,), bool
        Bins that hold one score only.

    """

    keys: NDArray[np.uint32]
    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]
    exact: NDArray[np.bool_]

    @property
    def thresholds(self) -> NDArray[np.float32]:
        """Lowest score that a bin can hold, (B,) float32, descending."""
        return to_scores(self.keys)


@dataclass(eq=False)
class ScoreHistogram:
    """
    Streaming counts of scores; memory follows the binades that occur, not the pixels.

    Attributes
    ----------
    positives, negatives : int
        Pixels seen so far.

    """

    positives: int = 0
    negatives: int = 0
    _blocks: dict[int, NDArray[np.int64]] = field(default_factory=dict, repr=False)

    def update(self, scores: NDArray[np.floating], is_ood: NDArray[np.bool_]) -> None:
        """
        Count the pixels of one image.

        Parameters
        ----------
        scores : ndarray of shape (N,) or (H, W), floating point
            Larger = more OoD; compared as float32.
        is_ood : ndarray of the same shape, bool
            True = OoD, False = in-distribution; leave ignored pixels out.

        """
        scores, is_ood = np.asarray(scores), np.asarray(is_ood)
        if scores.shape != is_ood.shape or is_ood.dtype != np.bool_:
            raise ValueError(
                f'scores and is_ood must have one shape and is_ood must be bool, got '
                f'{scores.shape}, {is_ood.shape} {is_ood.dtype}.'
            )
        keys = to_ordered_keys(scores)
        labels = is_ood.ravel()
        block = keys >> _BLOCK_BITS
        inside = (keys >> DROPPED_BITS) & np.uint32(_BINS_PER_BLOCK - 1)
        near = _is_near_one(keys)
        block[near] = _NEAR_ONE
        inside[near] = keys[near] - np.uint32(_NEAR_ONE_START)
        cell = (inside.astype(np.int64) << 1) | labels
        present = np.flatnonzero(np.bincount(block, minlength=_BLOCKS + 1))
        for number in present.tolist():
            chosen = cell if present.size == 1 else cell[block == number]
            counts = self._blocks.get(number)
            if counts is None:
                counts = self._blocks[number] = np.zeros(2 * _BINS_PER_BLOCK, np.int64)
            if chosen.size > _BINS_PER_BLOCK // 8:
                counts += np.bincount(chosen, minlength=counts.size)
            else:
                np.add.at(counts, chosen, 1)
        self.positives += int(labels.sum())
        self.negatives += int(labels.size - labels.sum())

    def merge(self, other: 'ScoreHistogram') -> None:
        """
        Add the counts of another histogram, such as that of another process.

        Parameters
        ----------
        other : ScoreHistogram
            Stays as it is.

        """
        for number, counts in other._blocks.items():
            if number in self._blocks:
                self._blocks[number] += counts
            else:
                self._blocks[number] = counts.copy()
        self.positives += other.positives
        self.negatives += other.negatives

    def to_arrays(self) -> dict[str, NDArray[np.int64]]:
        """Return the counts for a file or another process: occupied cells and what they hold."""
        cells, counts = [], []
        for number in sorted(self._blocks):
            used = np.flatnonzero(self._blocks[number])
            cells.append(used + number * 2 * _BINS_PER_BLOCK)
            counts.append(self._blocks[number][used])
        nothing = [np.zeros(0, np.int64)]
        return {
            'cells': np.concatenate(cells or nothing),
            'counts': np.concatenate(counts or nothing),
        }

    def add_arrays(self, arrays: Mapping[str, NDArray[np.int64]]) -> None:
        """Add what `to_arrays` returned."""
        size = 2 * _BINS_PER_BLOCK
        cells, counts = arrays['cells'], arrays['counts']
        for number in np.unique(cells // size).tolist():
            inside = cells // size == number
            block = self._blocks.setdefault(number, np.zeros(size, np.int64))
            block[cells[inside] - number * size] += counts[inside]
        positive = cells % 2 == 1
        self.positives += int(counts[positive].sum())
        self.negatives += int(counts[~positive].sum())

    def counts(self) -> ScoreCounts:
        """
        Return the occupied bins.

        Returns
        -------
        ScoreCounts

        """
        keys, tables = [np.zeros(0, np.int64)], [np.zeros((0, 2), np.int64)]
        for number, cells in self._blocks.items():
            table = cells.reshape(-1, 2)
            used = np.flatnonzero(table.any(axis=1))
            keys.append(
                used + _NEAR_ONE_START
                if number == _NEAR_ONE
                else (number << _BLOCK_BITS) + (used << DROPPED_BITS)
            )
            tables.append(table[used])
        joined, table = np.concatenate(keys).astype(np.uint32), np.concatenate(tables)
        order = np.argsort(joined)[::-1]
        joined, table = joined[order], table[order]
        return ScoreCounts(joined, table[:, 1], table[:, 0], _is_near_one(joined))


class RefinedCounts:
    """
    Second pass: single scores inside the bins that decide, everything else as it was.

    Parameters
    ----------
    counts : ScoreCounts
        Of the first pass.
    decisive : ndarray of shape (D,), int
        Indices into its bins.

    """

    def __init__(self, counts: ScoreCounts, decisive: NDArray[np.integer]) -> None:
        self._counts = counts
        self._decisive = np.unique(decisive)
        self._wanted = np.sort(counts.keys[self._decisive])
        self._seen: list[tuple[NDArray[np.uint32], NDArray[np.bool_]]] = []

    def update(self, scores: NDArray[np.floating], is_ood: NDArray[np.bool_]) -> None:
        """
        Look at the pixels of one image again.

        Parameters
        ----------
        scores, is_ood : ndarray
            The same as in the first pass.

        """
        keys, labels = to_ordered_keys(scores), np.asarray(is_ood).ravel()
        bins = np.where(_is_near_one(keys), keys, keys >> DROPPED_BITS << DROPPED_BITS)
        place = np.minimum(np.searchsorted(self._wanted, bins), self._wanted.size - 1)
        inside = self._wanted[place] == bins
        self._seen.append((keys[inside], labels[inside]))

    def counts(self) -> ScoreCounts:
        """
        Return the bins with the decisive ones split into single scores.

        Returns
        -------
        ScoreCounts

        """
        keys = np.concatenate([keys for keys, _ in self._seen])
        labels = np.concatenate([labels for _, labels in self._seen])
        single, place = np.unique(keys, return_inverse=True)
        positives = np.bincount(place, labels, minlength=single.size).astype(np.int64)
        negatives = np.bincount(place, ~labels, minlength=single.size).astype(np.int64)
        before = self._counts
        was = before.positives[self._decisive].sum(), before.negatives[self._decisive].sum()
        if (positives.sum(), negatives.sum()) != was:
            raise ValueError(
                f'the second pass must see the pixels of the first, expected {was[0]} OoD and '
                f'{was[1]} in-distribution pixels in the decisive bins, got {positives.sum()} '
                f'and {negatives.sum()}. Run both passes on the same scores.'
            )
        kept = np.ones(before.keys.size, bool)
        kept[self._decisive] = False
        joined = np.concatenate([before.keys[kept], single])
        order = np.argsort(joined)[::-1]
        return ScoreCounts(
            joined[order].astype(np.uint32),
            np.concatenate([before.positives[kept], positives])[order],
            np.concatenate([before.negatives[kept], negatives])[order],
            np.concatenate([before.exact[kept], np.ones(single.size, bool)])[order],
        )


def _is_near_one(keys: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Tell the keys that have a bin of their own."""
    return keys - np.uint32(_NEAR_ONE_START) < _BINS_PER_BLOCK  # what lies below wraps around
