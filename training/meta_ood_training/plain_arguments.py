"""Plain values, as a notebook or a command line passes them -> the fields of a record."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, MISSING
from pathlib import PurePath
from typing import Any, TypeVar

T = TypeVar('T')


def as_tuple(value: Any, kind: Callable[[Any], T]) -> tuple[T, ...]:
    """Return the values as `kind`; one alone, a string above all, is not taken apart."""
    if value is None:
        return ()
    if isinstance(value, (str, PurePath, int, float)) or not isinstance(value, Iterable):
        return (kind(value),)
    return tuple(kind(one) for one in value)


def check_choice(name: str, value: object, known: Sequence[str]) -> None:
    """Refuse a word that is none of those known."""
    if value not in known:
        raise ValueError(f'{name} must be one of {", ".join(known)}, got {value!r}.')


def set_defaults(parser: argparse.ArgumentParser, kind: type) -> None:
    """Give the options of a verb the defaults of its record, which are their one home."""
    plain = {
        one.name: one.default if one.default_factory is MISSING else one.default_factory()
        for one in fields(kind)
        if one.default is not MISSING or one.default_factory is not MISSING
    }
    parser.set_defaults(
        **{name: list(one) if isinstance(one, tuple) else one for name, one in plain.items()}
    )


def parse_size(text: str | None, *, option: str = '--work-size') -> tuple[int, int] | None:
    """Return (height, width) of `HxW`."""
    if text is None:
        return None
    sides = text.lower().split('x')
    if len(sides) != 2 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise ValueError(f'{option} must be HEIGHTxWIDTH in px, such as 512x1024, got {text!r}.')
    return int(sides[0]), int(sides[1])
