"""Blocks of one sequence -> the frames too near to a held-out block to be fitted on."""

from __future__ import annotations

from collections.abc import Sequence
import re

import numpy as np

_BLOCK = re.compile(r'(.+)(?:_|/block)(\d+)')


def find_gaps(
    frame_name: Sequence[str],
    frame_group: Sequence[str],
    frame_fold: np.ndarray,
    share: float,
    *,
    folds: int,
) -> np.ndarray:
    """
    Mark what lies next to a held-out block: neighbouring frames show nearly the same.

    Parameters
    ----------
    frame_name : sequence of F str
        '<source>/<name>', where numbers (stamps of a bag) by their value and other names in
        alphabetical order are in the order of time; one name of several sources (an overlay made
        twice) is one moment.
    frame_group : sequence of F str
        '<sequence>_<number>' or '<bag>/block<number>', perhaps with '+source' behind it; blocks of
        successive numbers follow each other. Groups of other names have no neighbours.
    frame_fold : ndarray of shape (F,), int64
        Fold of each frame; below 0 where it holds no segments. Frames of a block are in one
        fold.
    share : float
        Part of a neighbouring block that is too near, in [0, 1]; rounded up to whole frames.

    Returns
    -------
    ndarray of shape (N, F), bool
        Frames that are neither held out in fold n nor far enough from what is.

    Raises
    ------
    ValueError
        A share outside [0, 1].

    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f'gap must lie in [0, 1], got {share}. 0.2 is a fifth of a block.')
    frames: dict[tuple[str, int], list[int]] = {}
    for frame, group in enumerate(frame_group):
        found = _BLOCK.fullmatch(str(group).partition('+')[0])
        if found:
            frames.setdefault((found[1], int(found[2])), []).append(frame)
    fold = {block: int(frame_fold[members].max()) for block, members in frames.items()}
    gaps = np.zeros((folds, len(frame_group)), dtype=bool)
    for (sequence, number), members in frames.items():
        own = fold[sequence, number]
        moment = [str(frame_name[frame]).rpartition('/')[2] for frame in members]
        moments = sorted(set(moment), key=_in_time)
        near = int(np.ceil(share * len(moments)))
        for neighbour, edge in (
            (number - 1, moments[:near]),
            (number + 1, moments[len(moments) - near :]),
        ):
            held_out = fold.get((sequence, neighbour), -1)
            if held_out >= 0 and held_out != own:
                gaps[held_out, np.compress(np.isin(moment, edge), members)] = True
    return gaps


def _in_time(moment: str) -> tuple[int, str]:
    # stamps under simulated time have fewer digits at first: '999' comes before '1000'
    return (int(moment), '') if moment.isdecimal() else (-1, moment)
