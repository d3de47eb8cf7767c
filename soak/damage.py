"""Bytes -> the same with something wrong, as disks, cables and hostile hands leave them."""

from __future__ import annotations

import random


def damage(content: bytearray, rng: random.Random) -> None:
    """Flip a bit, cut, leave out, double or overwrite, in place."""
    if not content:
        return
    # Half of all strike the first or last part, where headers and indices lie.
    span = len(content) if rng.random() < 0.5 else min(len(content), 4096)
    place = rng.randrange(span)
    if rng.random() < 0.3:
        place = len(content) - 1 - place
    length = rng.choice((1, 8, 64, 1000))
    kind = rng.randrange(8)
    if kind < 3:
        content[place] ^= 1 << rng.randrange(8)
    elif kind == 3:
        del content[place:]
    elif kind == 4:
        del content[place : place + length]
    elif kind == 5:
        content[place:place] = content[place : place + length]
    elif kind == 6:
        value = rng.choice((0, 1, 2**31 - 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1))
        content[place : place + 8] = value.to_bytes(8, rng.choice(('little', 'big')))
    else:
        content[place : place + length] = rng.randbytes(length)
