"""Errors of libraries, and foreign words and values -> what of them goes into our sentences."""

import reprlib
from typing import Any

# A camera may send any text, of any length, in place of a name, and a library any message.
_LONGEST_NAME, _LONGEST = 80, 200
_brief = reprlib.Repr()
_brief.maxlevel = 3
_brief.maxstring = _brief.maxother = _brief.maxlong = 60


def first_line(error: Exception) -> str:
    """Return the first line of an error, without the full stop; its type where it says nothing."""
    line = (str(error).splitlines() or [type(error).__name__])[0].rstrip('. ')
    return line if len(line) <= _LONGEST else f'{line[:_LONGEST]}...'


def shown(path: object) -> str:
    """Return a file's name as text that can be printed and sent, whatever bytes it is made of."""
    return str(path).encode('utf-8', 'backslashreplace').decode()


def quoted(text: str) -> str:
    """Return foreign text in quotes, its beginning where it is long."""
    return repr(shown(text[:_LONGEST_NAME])) + ('...' if len(text) > _LONGEST_NAME else '')


def brief(value: Any) -> str:
    """Return a value as Python writes it, cut where a damaged file would fill the screen."""
    if isinstance(value, int) and not -(10**18) < value < 10**18:
        return f'an integer of {value.bit_length()} bits'  # too long a one cannot be written
    return _brief.repr(value)[:_LONGEST]
