"""One setting: a dataclass field that knows its range and says what is wrong with a value."""

from __future__ import annotations

from array import array
from dataclasses import Field, field
from difflib import get_close_matches
from typing import Any


def setting(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
    unit: str = '',
    allowed: str = '',
    hint: str = '',
) -> Any:
    """
    Return a dataclass field that carries all that a ROS parameter declares about itself.

    Parameters
    ----------
    minimum, maximum : float, optional
        Closed range of a number. Holes inside it (such as -1 or 64..4096) are checked apart.
    live : bool
        Whether the node applies a change at the next frame; otherwise only while unconfigured.

    """
    return field(
        default=default,
        metadata={
            'description': description,
            'minimum': minimum,
            'maximum': maximum,
            'choices': choices,
            'live': live,
            'unit': unit,
            'allowed': allowed or f'[{minimum}, {maximum}]',
            'hint': hint,
        },
    )


def check_setting(owner: Field[Any], value: Any) -> Any:
    """
    Return `value` in the type of the setting `owner`.

    Raises
    ------
    ValueError
        The value has another type, lies outside the range or is not one of the choices.

    """
    name, default, rule = owner.name, owner.default, owner.metadata
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(default, tuple) and isinstance(value, (list, array)):  # ROS has array('d')
        value = tuple(value)
    if type(value) is not type(default):
        raise ValueError(
            f'{name} must be of type {type(default).__name__}, got {value!r}. '
            f'Write it as in {default!r}.'
        )
    low, high, choices = rule['minimum'], rule['maximum'], rule['choices']
    if low is not None and not low <= value <= high:  # not <=: NaN fails, too
        raise outside(owner, value)
    if choices and value not in choices:
        nearest = get_close_matches(value, choices, n=1)
        do = f' Did you mean {nearest[0]!r}?' if nearest else ''
        known = ', '.join(one or "''" for one in choices)
        raise ValueError(f'{name} must be one of {known}, got {value!r}.{do}')
    return value


def outside(owner: Field[Any], value: Any) -> ValueError:
    """Return the error that names the allowed range of a setting and the value got."""
    rule = owner.metadata
    return ValueError(
        f'{owner.name} must lie in {rule["allowed"]}, got {value}. {rule["hint"]}'.rstrip()
    )
