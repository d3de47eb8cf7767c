"""Arguments of ROS that cannot be used, or that have no effect -> sentences."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
import re

import yaml

# Where in the source of ROS it was found.
_ORIGIN = re.compile(r', at /\S+:\d+')
_FILE = re.compile(r"Couldn't parse params file: '--params-file (.*)'\. Error: (.*)", re.DOTALL)
_PREFIX = 'failed to initialize rcl: '


def explain_refusal(error: Exception) -> str:
    """Return one sentence about why ROS does not start."""
    text = ' '.join(_ORIGIN.sub('', str(error)).split()).removeprefix(_PREFIX)
    found = _FILE.fullmatch(text)
    if text.startswith('['):  # all that rclpy says about arguments that it does not know
        text = f'it does not know {text.strip("[]")}'
    if found is None:
        return f'ood_node cannot start: {text.rstrip(".")}. Correct what stands after --ros-args.'
    path, reason = found.groups()
    if not Path(path).exists():
        reason = 'there is no such file'
    elif not Path(path).is_file():
        reason = 'it is no file'
    return (
        f'ood_node needs parameter files that ROS can read, got {path!r}: {reason.rstrip(".")}. '
        'Correct it, or start from a copy of config/ood.yaml.'
    )


def without_effect(arguments: Sequence[str], node: str) -> list[str]:
    """
    Return a sentence for each parameter file that says nothing about the node.

    Parameters
    ----------
    arguments : sequence of str
        The command line, which ROS has accepted.
    node : str
        Fully qualified name of the node.

    """
    flags = pairwise(arguments)
    files = dict.fromkeys(value for flag, value in flags if flag == '--params-file')
    return [sentence for path in files if (sentence := _without_effect(path, node))]


def _without_effect(path: str, node: str) -> str:
    try:
        sections = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError, yaml.YAMLError):
        return ''  # ROS reads it in another way
    named = sections if isinstance(sections, dict) else {}
    if any(
        isinstance(section, dict)
        and isinstance(section.get('ros__parameters'), dict)
        and _matches(str(name), node)
        for name, section in named.items()
    ):
        return ''
    got = f'its sections are {", ".join(map(str, named))}' if named else 'it has no section'
    return (
        f'The parameter file {path!r} says nothing about {node}: {got}. Its parameters belong '
        f'below {node}: or /**: and then ros__parameters:.'
    )


def _matches(section: str, node: str) -> bool:
    """Return whether a section is about a node: * stands for one name, ** for any number."""
    parts = section.strip('/').split('/')
    named = {'**': r'(/\w+)*', '*': r'/\w+'}
    return bool(re.fullmatch(''.join(named.get(one, '/' + re.escape(one)) for one in parts), node))
