"""Times of a recording's frames -> stretches that train, fit the filter or judge, with gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FIT, META, JUDGE = 'fit', 'meta', 'judge'
PARTS = (FIT, META, JUDGE)
_GAP = ''
PATTERN = (*[FIT] * 14, _GAP, *[META] * 7, _GAP, *[JUDGE] * 6, _GAP)
"""What successive blocks serve, over and over; frames of a gap are not used at all."""
BLOCK_SECONDS = 10.0
"""Longest block; a short recording is one round of the pattern, in shorter blocks."""


@dataclass(frozen=True)
class Place:
    """
    Where a frame of a recording belongs.

    Attributes
    ----------
    part : str
        'fit', 'meta', 'judge', or '' in a gap.
    block : int
        Which block of the recording, from 0: what is not torn apart.

    """

    part: str
    block: int


def share_out(seconds: Sequence[float]) -> list[Place]:
    """
    Return where each frame of one recording belongs.

    Parameters
    ----------
    seconds : sequence of N float
        Their times. Where some are unknown or do not rise, frames count as evenly spaced, in one
        round of the pattern.

    """
    times = np.asarray(seconds, float)
    rounds = 1
    if len(times) > 1 and np.isfinite(times).all() and (np.diff(times) > 0).all():
        span = times[-1] - times[0]
        rounds = max(1, int(span / (BLOCK_SECONDS * len(PATTERN))))
        # the last frame lasts as long as the others
        span *= len(times) / (len(times) - 1)
        share = (times - times[0]) / span
    else:
        share = np.arange(len(times)) / max(len(times), 1)
    # a frame at the very begin of a block is not rounded into the one before
    blocks = np.floor(share * rounds * len(PATTERN) + 1e-6).astype(int)
    return [Place(PATTERN[block % len(PATTERN)], block) for block in blocks.tolist()]


def describe_pattern() -> str:
    """Return the shares of the parts in words."""
    blocks = len(PATTERN)
    shares = ', '.join(f'{PATTERN.count(part)} {part}' for part in PARTS)
    return f'{shares} of {blocks} blocks, a block of gap between them'
