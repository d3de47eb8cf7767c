"""YAML of unknown origin -> plain values, in time and memory that the size of the text bounds."""

from __future__ import annotations

from typing import Any

from meta_ood_ros.core.error_text import brief, first_line
import yaml

#: A description with 254 classes has 20 kB; scores in its provenance may add some.
LARGEST_TEXT = 1 << 19
_DEEPEST = 20
_Parser: Any = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)


class _Loader(_Parser):
    """The safe loader, which here refuses a key that stands twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping each of whose keys stands once."""
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value):
            names = [getattr(key, 'value', '') for key, _ in node.value]
            twice = next((name for name in names if names.count(name) > 1), names[0])
            raise ValueError(f'the key {brief(twice)} twice')
        return mapping


def read_yaml(text: bytes) -> Any:
    """
    Return what a text says.

    Raises
    ------
    ValueError
        It is no YAML, is too long or too deep, or uses aliases, with which a text of some kB can
        stand for more than a memory holds; 'got' of a sentence.

    """
    if len(text) > LARGEST_TEXT:
        raise ValueError(f'{len(text)} bytes, where {LARGEST_TEXT} are the most')
    try:
        _check_events(text)
        return yaml.load(text, Loader=_Loader)
    except Exception as error:  # PyYAML lets errors of int(), dict() and others through
        where = getattr(error, 'problem_mark', None)
        line = f'line {where.line + 1}: ' if where is not None else ''
        said = getattr(error, 'problem', None) or first_line(error)
        raise ValueError(f'{line}{str(said)[:200]}') from error


def _check_events(text: bytes) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Parser):
        if getattr(event, 'anchor', None) is not None:
            raise ValueError(
                f'an alias or anchor ({brief(event.anchor)}) in line {event.start_mark.line + 1}'
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise ValueError(
                    f'more than {_DEEPEST} levels in line {event.start_mark.line + 1}'
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
