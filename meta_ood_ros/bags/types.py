"""Message types by name, learned from ROS, from a bag, or from our installed .msg files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
import struct
from typing import Any

from meta_ood_ros.bags.recorded import BagMessage
from rosbags.serde import SerdeError
from rosbags.typesys import (
    get_types_from_idl,
    get_types_from_msg,
    get_typestore,
    Stores,
    TypesysError,
)

_MESSAGES = ('OodSegment', 'OodSegmentArray', 'OodObstacle', 'OodObstacleArray')
# What rosbags raises over bytes that are no message, and over text that defines no type; a field
# whose type is nowhere is a KeyError, one whose name is no name a SyntaxError.
_NO_MESSAGE = (SerdeError, struct.error, ValueError, IndexError, OverflowError, MemoryError)
_NO_TYPE = (
    TypesysError, SerdeError, ValueError, KeyError, AssertionError, SyntaxError, RecursionError
)  # fmt: skip


class DamagedMessageError(ValueError):
    """A recorded message cannot be read; others of its topic may."""


class TypeStore:
    """Message types by name: those of ROS, ours, and those that a bag brings along."""

    def __init__(self) -> None:
        self.store = get_typestore(Stores.ROS2_KILTED)

    def read(self, raw: BagMessage) -> Any:
        """Return the message object of recorded bytes; DamagedMessageError if they are none."""
        self.add(raw.type_name, raw.definition)
        try:
            return self.store.deserialize_cdr(raw.data, raw.type_name)
        except _NO_MESSAGE as error:
            raise DamagedMessageError(
                f'{raw.topic} must hold {raw.type_name}, got {len(raw.data)} bytes that are none '
                f'({error}). The message is damaged.'
            ) from error

    def add(self, type_name: str, definition: str = '') -> None:
        """Learn a type from its definition in a bag or, for our own, from the installed text."""
        try:
            if type_name not in self.store.types:
                self._learn(type_name, definition)
            # Makes its readers now, and those of all types that it has parts of.
            self.store.get_msgdef(type_name)
        except _NO_TYPE as error:
            if isinstance(error, DamagedMessageError):
                raise
            raise DamagedMessageError(
                f'bag must hold a definition of {type_name}, got text that defines none '
                f'({type(error).__name__}: {str(error)[:100]}). The definition is damaged: '
                'record it again.'
            ) from error

    def _learn(self, type_name: str, definition: str) -> None:
        is_ours = type_name.startswith('meta_ood_msgs/msg/')
        if definition.startswith('=' * 80 + '\nIDL:'):
            types = get_types_from_idl(definition)
        elif definition:
            types = get_types_from_msg(definition, type_name)
        elif is_ours:
            types = _installed_types()
        else:
            raise DamagedMessageError(
                f'bag must hold the definition of {type_name}, got none. Record it again with '
                'ROS 2 Iron or later, or as .mcap.'
            )
        if is_ours and definition:
            _check_fields(types, type_name)
        self.store.register({k: v for k, v in types.items() if k not in self.store.types})


def _installed_types() -> dict[str, Any]:
    types: dict[str, Any] = {}
    for name in _MESSAGES:
        text = (_message_folder() / f'{name}.msg').read_text(encoding='utf-8')
        types.update(get_types_from_msg(text, f'meta_ood_msgs/msg/{name}'))
    return types


def _check_fields(types: dict[str, Any], type_name: str) -> None:
    """Refuse a definition of our own messages that lacks what their readers ask for."""
    for name, (_, fields) in _installed_types().items():
        if name not in types and name != type_name:
            continue  # of another package, or not used
        there = {field for field, _ in types[name][1]}
        lacking = [field for field, _ in fields if field not in there]
        if lacking:
            raise DamagedMessageError(
                f'bag must hold a definition of {name} with all its fields, got one without '
                f'{", ".join(lacking[:5])}. The definition is damaged, or of another version of '
                'meta_ood_msgs: record it again.'
            )


def _message_folder() -> Path:
    """Return where the .msg files are installed: <prefix>/share beside <prefix>/lib."""
    spec = find_spec('meta_ood_msgs')
    places = Path(spec.origin).parents if spec and spec.origin else ()
    for prefix in places:
        folder = prefix / 'share' / 'meta_ood_msgs' / 'msg'
        if folder.is_dir():
            return folder
    raise ValueError(
        'meta_ood_msgs must be installed with its .msg files, got none. Run make install, or '
        'build the package with colcon and source its workspace.'
    )
