"""
Write config/ood.yaml and docs/interfaces.md from the settings and the messages: `make docs`.

A test compares both files with what this writes, so neither can drift from the code.
"""

from __future__ import annotations

from dataclasses import Field, fields
from pathlib import Path
import textwrap
from typing import Any

from meta_ood_ros.core.settings import NodeSettings

REPOSITORY = Path(__file__).resolve().parents[1]
MESSAGES = REPOSITORY / 'ros2_ws' / 'src' / 'meta_ood_msgs' / 'msg'

YAML_HEAD = """\
# Every parameter of the node at its default; copy it, keep what you change, and start with
#   ros2 launch meta_ood ood.launch.py params_file:=<your file>
# Written by `make docs` from meta_ood_ros/core/settings.py.
/**:
  ros__parameters:
"""

MARKDOWN_HEAD = """\
# Interfaces

Written by `make docs` from the code; edit `meta_ood_ros/core/settings.py` and the `.msg` files.

## Parameters

live: applied at the next frame. Otherwise only while the node is unconfigured: to swap, say, the
bundle, call cleanup, set, configure. -1.0 (or -1) is the value of the bundle; the effective value
stands in `~/segments` and `/diagnostics`. Besides these, `use_sim_time` and `qos_overrides.*`.

| parameter | type | default | range | live | meaning |
|---|---|---|---|---|---|
"""


def to_yaml_value(value: Any) -> str:
    """
    Return a default as YAML writes it, with the type that ROS reads back.

    Parameters
    ----------
    value : bool, int, float, str or tuple of str
        Default of a setting.

    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, tuple):
        return '[' + ', '.join(f"'{item}'" for item in value) + ']'
    return repr(value)


def to_ros_type(value: Any) -> str:
    """
    Return the name of a parameter type, as `ros2 param describe` prints it.

    Parameters
    ----------
    value : bool, int, float, str or tuple of str
        Default of a setting.

    """
    names = {bool: 'bool', int: 'integer', float: 'double', str: 'string', tuple: 'string array'}
    return names[type(value)]


def to_range(setting: Field[Any]) -> str:
    """
    Return what a setting allows: its choices, its range with unit, or nothing.

    Parameters
    ----------
    setting : dataclasses.Field
        Field of NodeSettings.

    """
    rule = setting.metadata
    if rule['choices']:
        return ', '.join(rule['choices'])
    return f'{rule["allowed"]} {rule["unit"]}'.rstrip() if rule['minimum'] is not None else ''


def to_parameter_file() -> str:
    """Return the text of config/ood.yaml: start-only parameters first, live ones after them."""
    text = YAML_HEAD
    for live, title in ((False, 'only while unconfigured'), (True, 'live: at the next frame')):
        text += f'    # ---- {title} ----\n'
        for setting in fields(NodeSettings):
            if setting.metadata['live'] is not live:
                continue
            about = setting.metadata['description']
            if to_range(setting):
                kind = 'One of' if setting.metadata['choices'] else 'Range'
                about += f' {kind}: {to_range(setting)}.'
            text += textwrap.fill(about, 99, initial_indent='    # ', subsequent_indent='    # ')
            text += f'\n    {setting.name}: {to_yaml_value(setting.default)}\n'
    return text


def to_interfaces() -> str:
    """Return the text of docs/interfaces.md: the parameters, then the messages word for word."""
    text = MARKDOWN_HEAD
    for setting in sorted(fields(NodeSettings), key=lambda field: field.metadata['live']):
        cells = (
            f'`{setting.name}`',
            to_ros_type(setting.default),
            f'`{to_yaml_value(setting.default)}`',
            to_range(setting),
            'yes' if setting.metadata['live'] else '',
            setting.metadata['description'].replace('<', r'\<'),
        )
        text += f'| {" | ".join(cells)} |\n'
    text += '\n## Messages\n'
    for path in sorted(MESSAGES.glob('*.msg')):
        text += f'\n### meta_ood_msgs/{path.stem}\n\n```\n{path.read_text().rstrip()}\n```\n'
    return text


GENERATED = {
    REPOSITORY / 'config' / 'ood.yaml': to_parameter_file,
    REPOSITORY / 'docs' / 'interfaces.md': to_interfaces,
}

if __name__ == '__main__':
    for path, make in GENERATED.items():
        path.write_text(make(), encoding='utf-8')
        print(f'wrote {path.relative_to(REPOSITORY)}')
