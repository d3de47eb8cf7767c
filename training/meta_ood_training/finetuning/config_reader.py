"""YAML + `key=value` words -> nested frozen dataclasses, which pydantic checks strictly."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
import json
from pathlib import Path
from typing import Any, get_args, get_type_hints, TypeVar

from pydantic import TypeAdapter, ValidationError
import yaml

Record = TypeVar('Record')

_UNKNOWN = 'unexpected_keyword_argument'
_WANTED = {
    'int_type': 'int',
    'float_type': 'float',
    'bool_type': 'bool',
    'string_type': 'str',
    'tuple_type': 'list',
    'dict_type': 'mapping',
    'dataclass_type': 'mapping',
}


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
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f'{path} must be YAML, got: {error}') from error
    if not isinstance(values, Mapping):
        raise ConfigError(f'{path} must hold a mapping, got {type(values).__name__}.')
    merged = dict(values)
    for override in overrides:
        _apply(merged, override)
    return _to_record(kind, merged, path)


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


def _to_record(kind: type[Record], values: Mapping[str, Any], path: Path) -> Record:
    try:
        # As JSON: strict for Python's objects would want records where YAML has mappings.
        text = json.dumps(values)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f'{path} must hold text, numbers, lists and mappings alone, got: {error}. Quote what '
            'YAML takes for a date, and refer to nothing inside itself.'
        ) from error
    try:
        return TypeAdapter(kind).validate_json(text, strict=True, extra='forbid')
    except ValidationError as error:
        # A misspelt key is often missing, too: its name is the better advice.
        mistakes = sorted(error.errors(), key=lambda one: one['type'] != _UNKNOWN)
        raise ConfigError(f'{path}: {_explain(kind, mistakes[0])}') from error


def _explain(kind: type, mistake: Any) -> str:
    what, value = mistake['type'], mistake['input']
    place = _to_words(mistake['loc'])
    record = _to_words(mistake['loc'][:-1])
    record = f'{record}: ' if record else ''
    if what == _UNKNOWN:
        known, key = _known_keys(kind, mistake['loc'][:-1]), mistake['loc'][-1]
        nearest = get_close_matches(key, known, 1, 0.5)
        hint = f'Did you mean {nearest[0]!r}?' if nearest else f'Known: {", ".join(known)}.'
        return f'{record}unknown key {key!r}. {hint}'
    if what == 'missing':
        return f'{record}missing key {mistake["loc"][-1]!r}, which has no default. Add it.'
    if what == 'value_error':
        return f'{place}: {mistake["ctx"]["error"]}' if place else str(mistake['ctx']['error'])
    if what == 'literal_error':
        known = mistake['ctx']['expected'].replace(' or ', ', ')
        return f'{place} must be one of {known}, got {value!r}.'
    if what not in _WANTED:
        return f'{place}: {mistake["msg"]}, got {value!r}.'
    advice = ''
    if what in ('int_type', 'float_type') and isinstance(value, str) and _is_number(value):
        # YAML 1.1 takes 1e-5 for a string: it wants a dot before and a sign after the e.
        advice = f' YAML reads {value} as text: write {_with_dot(value)}.'
    return f'{place} must be a {_WANTED[what]}, got {value!r} ({type(value).__name__}).{advice}'


def _to_words(place: Sequence[str | int]) -> str:
    keys = (f'[{key}]' if isinstance(key, int) else f'.{key}' for key in place)
    return ''.join(keys).lstrip('.')


def _known_keys(kind: Any, place: Sequence[str | int]) -> list[str]:
    for name in (key for key in place if isinstance(key, str)):
        kind = get_type_hints(kind)[name]
        # of `Record | None` and of `tuple[Record, ...]`
        kind = next((one for one in get_args(kind) if is_dataclass(one)), kind)
    return [field.name for field in fields(kind)]


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
