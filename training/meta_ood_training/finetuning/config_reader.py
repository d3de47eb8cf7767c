"""YAML + `key=value` words -> nested frozen dataclasses; nothing unknown or mistyped passes."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
import types
from typing import Any, get_args, get_origin, get_type_hints, Literal, TypeVar, Union

import yaml

Record = TypeVar('Record')


class ConfigError(ValueError):
    """A configuration says something that cannot be meant."""


def read_config(kind: type[Record], path: str | Path, overrides: Sequence[str] = ()) -> Record:
    """
    Return a configuration file as a record.

    Parameters
    ----------
    kind : type
        A frozen dataclass; its fields may be dataclasses, tuples of them, mappings from str,
        numbers, strings, booleans, `Literal` and `None`.

    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f'configuration must be a YAML file, got {str(path)!r}, which is none.')
    try:
        values = yaml.safe_load(path.read_text(encoding='utf-8'))
    except yaml.YAMLError as error:
        raise ConfigError(f'{path} must be YAML, got: {error}') from error
    if not isinstance(values, Mapping):
        raise ConfigError(f'{path} must hold a mapping, got {type(values).__name__}.')
    merged = dict(values)
    for override in overrides:
        _apply(merged, override)
    return to_record(kind, merged, str(path))


def read_value(text: str, given: str) -> Any:
    """Return a value of the command line."""
    try:
        return yaml.safe_load(text) if text else ''
    except yaml.YAMLError as error:
        problem = getattr(error, 'problem', None) or error
        raise ConfigError(
            f'a value must be YAML, got {given!r}: {problem}. Close what it opens, and quote it '
            'for the shell.'
        ) from error


def to_record(kind: type[Record], values: Mapping[str, Any], place: str) -> Record:
    """Return a mapping as a record, every value checked against its field's type."""
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            nearest = get_close_matches(str(key), known, 1, 0.5)
            hint = f'Did you mean {nearest[0]!r}?' if nearest else f'Known: {", ".join(known)}.'
            raise ConfigError(f'{place}: unknown key {key!r}. {hint}')
    converted = {
        key: _convert(hints[key], value, f'{place}: {key}') for key, value in values.items()
    }
    try:
        return kind(**converted)
    except (TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f'{place}: {error}') from error


def _convert(hint: Any, value: Any, place: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        options = get_args(hint)
        if value is None and type(None) in options:
            return None
        return _convert(next(one for one in options if one is not type(None)), value, place)
    if origin is Literal:
        if value not in get_args(hint):
            known = ', '.join(map(repr, get_args(hint)))
            raise ConfigError(f'{place} must be one of {known}, got {value!r}.')
        return value
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f'{place} must be a mapping, got {value!r}.')
        return to_record(hint, value, place)  # type: ignore[arg-type]
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f'{place} must be a list, got {value!r}.')
        item = get_args(hint)[0]
        return tuple(_convert(item, one, f'{place}[{i}]') for i, one in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f'{place} must be a mapping, got {value!r}.')
        item = get_args(hint)[1]
        return {str(key): _convert(item, one, f'{place}.{key}') for key, one in value.items()}
    return value if hint is Any else _convert_plain(hint, value, place)


def _convert_plain(hint: type, value: Any, place: str) -> Any:
    # bool is an int in Python, never in a configuration.
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if type(value) is hint:
        return value
    advice = ''
    if hint in (int, float) and isinstance(value, str) and _is_number(value):
        # YAML 1.1 takes 1e-5 for a string: it wants a dot before and a sign after the e.
        advice = f' YAML reads {value} as text: write {_with_dot(value)}.'
    raise ConfigError(
        f'{place} must be a {hint.__name__}, got {value!r} ({type(value).__name__}).{advice}'
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _with_dot(text: str) -> str:
    mantissa, _, exponent = text.lower().partition('e')
    if '.' not in mantissa:
        mantissa += '.0'
    if exponent and exponent[0] not in '+-':
        exponent = '+' + exponent
    return f'{mantissa}e{exponent}' if exponent else mantissa


def _apply(values: dict[str, Any], override: str) -> None:
    """Set `a.b=value` in nested mappings, in place."""
    key, equals, text = override.partition('=')
    if not equals or not key:
        raise ConfigError(f'an override must be key=value, got {override!r}.')
    value = read_value(text, override)
    if isinstance(value, str) and _is_number(value):
        # On the command line 1e-5 can only be meant as the number.
        value = float(value)
    *parents, last = key.split('.')
    at = values
    for parent in parents:
        below = at.get(parent)
        at[parent] = dict(below) if isinstance(below, Mapping) else {}
        at = at[parent]
    at[last] = value
