"""Errors of libraries and values of users -> what of them goes into a sentence of ours."""

import reprlib
from typing import Any

_LONGEST = 200
_brief = reprlib.Repr()
_brief.maxlevel = 3
_brief.maxstring = _brief.maxother = _brief.maxlong = 60


def first_line(error: Exception) -> str:
    """Return the first line of an error, without the full stop; its type where it says nothing."""
    line = (str(error).splitlines() or [type(error).__name__])[0].rstrip('. ')
    return line if len(line) <= _LONGEST else f'{line[:_LONGEST]}...'


def brief(value: Any) -> str:
    """Return a value as Python writes it, cut where a damaged file would fill the screen."""
    if isinstance(value, int) and not -(10**18) < value < 10**18:
        return f'an integer of {value.bit_length()} bits'  # too long a one cannot be written
    return _brief.repr(value)[:_LONGEST]
