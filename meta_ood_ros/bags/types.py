"""Message types by name, learned from ROS, from a bag, or from our installed .msg files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from meta_ood_ros.bags.files import BagMessage
from rosbags.typesys import get_types_from_idl, get_types_from_msg, get_typestore, Stores

_MESSAGES = ('OodSegment', 'OodSegmentArray')


class TypeStore:
    """Message types by name: those of ROS, ours, and those that a bag brings along."""

    def __init__(self) -> None:
        self.store = get_typestore(Stores.ROS2_KILTED)

    def read(self, raw: BagMessage) -> Any:
        """Return the message object of recorded bytes; ValueError if they are damaged."""
        self.add(raw.type_name, raw.definition)
        try:
            return self.store.deserialize_cdr(raw.data, raw.type_name)
        # rosbags lets through whatever its generated readers raise on bytes that stop short.
        except Exception as error:
            raise ValueError(
                f'{raw.topic} must hold {raw.type_name}, got {len(raw.data)} bytes that are none '
                f'({error}). The message is damaged.'
            ) from error

    def add(self, type_name: str, definition: str = '') -> None:
        """Learn a type from its definition in a bag or, for our own, from the installed text."""
        if type_name in self.store.types:
            return
        if definition.startswith('=' * 80 + '\nIDL:'):
            types = get_types_from_idl(definition)
        elif definition:
            types = get_types_from_msg(definition, type_name)
        elif type_name.startswith('meta_ood_msgs/msg/'):
            types = {}
            for name in _MESSAGES:
                text = (_message_folder() / f'{name}.msg').read_text(encoding='utf-8')
                types.update(get_types_from_msg(text, f'meta_ood_msgs/msg/{name}'))
        else:
            raise ValueError(
                f'bag must hold the definition of {type_name}, got none. Record it again with '
                'ROS 2 Iron or later, or as .mcap.'
            )
        self.store.register({k: v for k, v in types.items() if k not in self.store.types})


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
