"""NodeSettings <-> declared ROS parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from difflib import get_close_matches
from typing import Any

from meta_ood_ros.core.settings import NodeSettings
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

_FIELDS = {owner.name: owner for owner in fields(NodeSettings)}

#: How a value of each type is written in YAML.
_TYPE_NAMES = {bool: 'bool', int: 'integer', float: 'double', str: 'string'}


class Parameters:
    """
    The node's parameters: declared with description and range, checked as a whole when set.

    A value of a launch file or YAML that cannot be declared does not end the process: the default
    is declared instead, and `settings` raises the sentence until the parameter has been set.
    """

    def __init__(self, node: Node, *, is_unconfigured: Callable[[], bool]) -> None:
        self._node = node
        self._is_unconfigured = is_unconfigured
        self._complaints: dict[str, str] = {}
        self._live: NodeSettings | None = None
        for owner in _FIELDS.values():
            self._declare(owner)
        node.add_on_set_parameters_callback(self._on_set)

    def settings(self) -> NodeSettings:
        """
        Return the values of all parameters.

        Raises
        ------
        ValueError
            One of them cannot be used; one sentence says which, why and what to do.

        """
        for complaint in self._complaints.values():
            raise ValueError(complaint)
        self._live = NodeSettings(**self._values())
        return self._live

    def value(self, name: str) -> Any:
        """Return the value of one parameter, whatever is wrong with the others."""
        return self._node.get_parameter(name).value

    @property
    def live(self) -> NodeSettings:
        """Return the settings that the next frame is to use, as one snapshot."""
        return self._live or self.settings()

    def misspelled(self) -> list[str]:
        """Return a sentence for each given parameter that is unknown and nearly a known name."""
        # ROS drops unknown parameters without a word; it has no public way to list them.
        given = getattr(self._node, '_parameter_overrides', {})
        sentences = []
        for name in sorted(set(given) - set(_FIELDS)):
            nearest = get_close_matches(name, _FIELDS, n=1, cutoff=0.8)
            if nearest:
                sentences.append(
                    f'Parameter {name} is unknown and has no effect. Did you mean {nearest[0]}?'
                )
        return sentences

    def _values(self) -> dict[str, Any]:
        return {name: self.value(name) for name in _FIELDS}

    def _declare(self, owner: Field[Any]) -> None:
        default = list(owner.default) if isinstance(owner.default, tuple) else owner.default
        try:
            declared = self._node.declare_parameter(owner.name, default, to_descriptor(owner))
            if declared.type_ != Parameter.Type.NOT_SET:
                return
            # ROS reads an empty list, whose type it cannot know, as no value.
            complaint = _type_complaint(owner, [])
            self._node.undeclare_parameter(owner.name)
        except InvalidParameterTypeException:
            complaint = _type_complaint(owner, self._given(owner.name))
        except InvalidParameterValueException as error:
            complaint = _error({owner.name: self._given(owner.name)}) or str(error)
        self._complaints[owner.name] = complaint
        self._node.declare_parameter(
            owner.name, default, to_descriptor(owner), ignore_override=True
        )

    def _given(self, name: str) -> Any:
        """Return the value that a launch file or YAML gives, whatever its type."""
        anything = ParameterDescriptor(dynamic_typing=True)
        value = self._node.declare_parameter(name, None, anything).value
        self._node.undeclare_parameter(name)
        return value

    def _on_set(self, changes: Sequence[Parameter]) -> SetParametersResult:
        changed = {one.name: one.value for one in changes if one.name in _FIELDS}
        reason = self._refusal(changed)
        if reason:
            return SetParametersResult(successful=False, reason=reason)
        for name in changed:
            self._complaints.pop(name, None)
        if changed:
            configured = not self._is_unconfigured()
            self._live = NodeSettings(**{**self._values(), **changed}) if configured else None
        return SetParametersResult(successful=True)

    def _refusal(self, changed: dict[str, Any]) -> str:
        """Return why the change cannot be made, or ''."""
        now = self._values()
        if not self._is_unconfigured():
            for name, value in changed.items():
                if not _FIELDS[name].metadata['live'] and value != now[name]:
                    return (
                        f'{name} can be set only while the node is unconfigured. '
                        'Deactivate and clean up, set it, then configure and activate again.'
                    )
        reason = _error({**now, **changed})
        # Parameters that contradict each other already are set right one after the other.
        return '' if self._is_unconfigured() and reason == _error(now) else reason


def to_descriptor(owner: Field[Any]) -> ParameterDescriptor:
    """Return what a parameter says about itself."""
    rule = owner.metadata
    when = 'Live.' if rule['live'] else 'Only while unconfigured.'
    unit = f' [{rule["unit"]}]' if rule['unit'] else ''
    descriptor = ParameterDescriptor(description=f'{rule["description"]}{unit} {when}')
    if rule['choices']:
        known = ', '.join(one or "''" for one in rule['choices'])
        descriptor.additional_constraints = f'One of {known}.'
    if rule['minimum'] is None:
        return descriptor
    descriptor.additional_constraints = rule['allowed']
    if isinstance(owner.default, float):
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(rule['minimum']), to_value=float(rule['maximum']))
        ]
    else:
        descriptor.integer_range = [
            IntegerRange(from_value=int(rule['minimum']), to_value=int(rule['maximum']))
        ]
    return descriptor


def _error(values: dict[str, Any]) -> str:
    try:
        NodeSettings(**values)
    except ValueError as error:
        return str(error)
    return ''


def _type_complaint(owner: Field[Any], value: Any) -> str:
    """Return the sentence about a value of a type that is not converted: 1 is no double."""
    example: Any = list(owner.default) if isinstance(owner.default, tuple) else owner.default
    if isinstance(owner.default, float) and isinstance(value, int):
        example = float(value)
    written = str(example).lower() if isinstance(example, bool) else repr(example)
    return (
        f'{owner.name} must be of type {_type_name(owner.default)}, got {value!r}. '
        f'Write it as in {written}.'
    )


def _type_name(default: Any) -> str:
    if isinstance(default, tuple):
        return f'{_TYPE_NAMES[type(default[0])]}[]'
    return _TYPE_NAMES[type(default)]
