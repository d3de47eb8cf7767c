"""
Write docs/training_configuration.md from the records of a training run: `make docs`.

A test compares the file with what this writes, and asks that every key has a meaning and a user.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, Field, fields, is_dataclass, MISSING
import inspect
import json
from pathlib import Path
import re
from types import NoneType
import typing
from typing import Any, get_args, get_origin, get_type_hints, Literal

from meta_ood_training.finetuning.config import FinetuneConfig

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / 'training' / 'meta_ood_training'
#: Rooms that hold records and check them; they use no value.
RECORD_ROOMS = {'finetuning/config.py', 'finetuning/loop_config.py'}

HEAD = """\
# The configuration of a training run

Written by `make docs` from the records in `training/meta_ood_training/finetuning`; edit their
docstrings. What stands in a file such as
[config/finetune_espnet_v2.yaml](../config/finetune_espnet_v2.yaml) is checked against them: an
unknown key, a wrong type and a value out of range are refused by name.

* `meta-ood-train finetune FILE key.of.a.key=value ...` changes single keys; such words may stand
  anywhere on the line.
* `meta-ood-train finetune FILE --print-config` prints all keys with their defaults as YAML that
  can be given as FILE again.
* YAML reads `1e-5` as text: in a file write `1.0e-5`.

"used by" names the rooms that read a value. A key without default must be given.
"""


@dataclass(frozen=True)
class Section:
    """
    A record, and the key under which it stands.

    Attributes
    ----------
    keys : list of str
        'training', 'street[]' for one of a list; '' for the whole file.

    """

    keys: list[str]
    kind: type


def find_sections() -> list[Section]:
    """Return the record of the file and all inside it, each once."""
    found: list[Section] = []

    def walk(key: str, kind: type) -> None:
        for one in found:
            if one.kind is kind:
                one.keys.append(key)
                return
        found.append(Section([key], kind))
        for name, hint in get_type_hints(kind).items():
            for inner in (hint, *get_args(hint)):
                if is_dataclass(inner) and isinstance(inner, type):
                    is_list = get_origin(hint) is tuple
                    walk(f'{key}.{name}'.lstrip('.') + ('[]' if is_list else ''), inner)

    walk('', FinetuneConfig)
    return found


def read_meanings(kind: type) -> dict[str, str]:
    """Return attribute -> meaning, of the docstring's section Attributes."""
    text = inspect.getdoc(kind) or ''
    _, _, below = text.partition('Attributes\n----------\n')
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in below.splitlines():
        head = re.fullmatch(r'(\w+(?:, \w+)*) : .+', line)
        if head:
            names = head[1].split(', ')
        elif line.strip():
            for name in names:
                meanings[name] = f'{meanings.get(name, "")} {line.strip()}'.strip()
    return meanings


def to_type(hint: Any) -> str:
    """Return how a type is written in YAML: its choices, or a word."""
    if get_origin(hint) is Literal:
        return ', '.join(f'`{one}`' if one else "`''`" for one in get_args(hint))
    if get_origin(hint) is tuple:
        return f'list of {to_type(get_args(hint)[0])}'
    if get_origin(hint) is not None and get_origin(hint) is not typing.Union:
        inner = [one for one in get_args(hint) if one is not NoneType]
        if NoneType in get_args(hint):
            return f'{to_type(inner[0])} or null'
        return 'mapping'
    if is_dataclass(hint):
        return 'mapping'
    return {int: 'int', float: 'float', str: 'text', bool: 'bool'}[hint]


def to_default(field: Field[Any]) -> str:
    """Return a default as YAML writes it."""
    if field.default is not MISSING:
        value = field.default
        text = f"'{value}'" if isinstance(value, str) else json.dumps(value)
        # as YAML 1.1 wants it: 1e-05 would be text
        text = re.sub(r'^(\d+)e', r'\1.0e', text)
        return f'`{text}`'
    if field.default_factory is MISSING:
        return 'must be given'
    made = field.default_factory()
    return '`{}`' if not is_dataclass(made) else 'its defaults'


def to_unit(meaning: str) -> str:
    """Return the word in square brackets of a meaning; [0, 1] is a range."""
    found = re.search(r'\[([a-z][a-z ]*)\]', meaning)
    return found[1] if found else ''


def find_users(section: Section) -> dict[str, list[str]]:
    """Return key -> the rooms that read it."""
    last = '|'.join(key.removesuffix('[]').split('.')[-1] or 'config' for key in section.keys)
    users: dict[str, list[str]] = {field.name: [] for field in fields(section.kind)}
    for name, text in _rooms():
        # who neither names the record nor its key cannot know its values
        if not re.search(rf'\b{section.kind.__name__}\b|\.(?:{last})\b', text):
            continue
        read = set(_attributes(text))
        for field, found in users.items():
            if field in read:
                found.append(name.removesuffix('.py').replace('/', '.'))
    return users


def _rooms() -> Iterator[tuple[str, str]]:
    for wing in ('finetuning', 'bundles', 'heads'):
        for path in sorted((PACKAGE / wing).rglob('*.py')):
            name = str(path.relative_to(PACKAGE))
            if name not in RECORD_ROOMS:
                yield name, path.read_text(encoding='utf-8')


def _attributes(text: str) -> Iterator[str]:
    """Yield what a room reads of records; their own checks and what it sets do not count."""
    tree = ast.parse(text)
    checks = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == '__post_init__'
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in checks:
            continue
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def to_reference() -> str:
    """Return the text of docs/training_configuration.md."""
    text = HEAD
    for section in find_sections():
        hints, meanings = get_type_hints(section.kind), read_meanings(section.kind)
        users = find_users(section)
        about = (inspect.getdoc(section.kind) or '').split('\n\n')[0].replace('\n', ' ')
        title = ', '.join(f'`{key}`' for key in section.keys if key) or 'The file'
        text += f'\n## {title}\n\n{about}\n\n'
        text += '| key | type | default | unit | meaning | used by |\n|---|---|---|---|---|---|\n'
        for field in fields(section.kind):
            meaning = meanings.get(field.name, '')
            cells = (
                f'`{field.name}`',
                to_type(hints[field.name]),
                to_default(field),
                to_unit(meaning),
                meaning.replace('|', r'\|').replace('<', r'\<'),
                ', '.join(users[field.name]),
            )
            text += f'| {" | ".join(cells)} |\n'
    return text


GENERATED = {REPOSITORY / 'docs' / 'training_configuration.md': to_reference}

if __name__ == '__main__':
    for path, make in GENERATED.items():
        path.write_text(make(), encoding='utf-8')
        print(f'wrote {path.relative_to(REPOSITORY)}')
