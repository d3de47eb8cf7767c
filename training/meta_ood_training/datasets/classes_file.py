"""`classes.yaml` -> the names, colours and label values of one's own classes."""

from collections.abc import Mapping, Sequence
import colorsys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from meta_ood_ros.core.classes import CITYSCAPES_COLORS, CITYSCAPES_NAMES
from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD
from pydantic import BaseModel, ConfigDict, ValidationError
import yaml

CLASSES_FILE = 'classes.yaml'
MOST_CLASSES = IN_DISTRIBUTION
"""Values from here on mean something else in a target."""

Color = tuple[int, int, int]


@dataclass(frozen=True)
class ClassTable:
    """
    One's own classes, in the order of the network's outputs.

    Attributes
    ----------
    colors : tuple of (int, int, int)
        RGB, one for each name.
    targets : mapping of int to int
        Value in a label file -> value in a target (see `Sample`).
    others : int or None
        Target of values that are not listed; None refuses them.

    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]
    targets: Mapping[int, int]
    others: int | None = None

    def complete(self) -> dict[int, int]:
        """Return the target of every label value that is not refused."""
        if self.others is None:
            return dict(self.targets)
        return {value: self.targets.get(value, self.others) for value in range(256)}

    def for_network(self, class_names: Sequence[str]) -> dict[int, int]:
        """Return the same for a network of other classes: what it has no name for is known."""
        places = {name: place for place, name in enumerate(class_names)}
        ids = {place: places.get(name, IN_DISTRIBUTION) for place, name in enumerate(self.names)}
        return {value: ids.get(target, target) for value, target in self.complete().items()}

    def as_facts(self) -> dict[str, Any]:
        """Return names and colours as a file of weights keeps them."""
        return {'names': list(self.names), 'colors': [list(color) for color in self.colors]}


class _Strict(BaseModel):
    model_config = ConfigDict(extra='forbid', strict=True)


class _Class(_Strict):
    name: str
    color: list[int] | None = None
    ids: list[int] | None = None


class _File(_Strict):
    classes: list[_Class]
    ignore_ids: list[int] = [IGNORED]
    unknown_ids: list[int] = [OOD]
    other_ids: Literal['refuse', 'ignore'] = 'refuse'


def find_classes(folder: str | Path) -> ClassTable | None:
    """Return the classes that a folder of images and labels states, None where it does not."""
    path = Path(folder) / CLASSES_FILE
    return read_classes(path) if path.is_file() else None


def read_classes(path: str | Path) -> ClassTable:
    """
    Return the classes of a file.

    Parameters
    ----------
    path : str or Path
        YAML: `classes`, a list of `name`, `color` ([r, g, b]; chosen where it is left out) and
        `ids` (values in label files; by default the place in the list); `ignore_ids` (default
        [255]); `unknown_ids`, of OoD objects (default [254]); `other_ids`, `refuse` (default) or
        `ignore`.

    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
        file = _File.model_validate(content)
    except ValidationError as error:
        mistake = error.errors()[0]
        place = '.'.join(map(str, mistake['loc'])) or 'the whole file'
        raise ValueError(
            f'{path}: {place}: {mistake["msg"]}, got {str(mistake["input"])[:60]}. It must hold '
            'classes: [{name: floor, color: [128, 64, 128], ids: [0]}, ...].'
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f'{path} must be a YAML file with classes, got: {error}') from error
    _check_classes(file, path)
    own = {place: one.ids or [place] for place, one in enumerate(file.classes)}
    listed = [(value, place) for place, ids in own.items() for value in ids]
    listed += [(value, IGNORED) for value in file.ignore_ids]
    listed += [(value, OOD) for value in file.unknown_ids]
    targets: dict[int, int] = {}
    for value, target in listed:
        if not 0 <= value <= 255:
            raise ValueError(
                f'{path}: ids must lie in [0, 255], as labels of 8 bits do, got {value}. '
                'Renumber them.'
            )
        if targets.setdefault(value, target) != target:
            raise ValueError(
                f'{path}: each id must mean one thing, got {value} for '
                f'{_meaning(file, targets[value])} and {_meaning(file, target)}. Correct ids.'
            )
    targets.setdefault(IN_DISTRIBUTION, IN_DISTRIBUTION)
    return ClassTable(
        tuple(one.name for one in file.classes),
        tuple(
            _default_color(place) if one.color is None else (one.color[0], *one.color[1:3])
            for place, one in enumerate(file.classes)
        ),
        targets,
        IGNORED if file.other_ids == 'ignore' else None,
    )


def exported_classes(
    facts: Mapping[str, Any], num_classes: int, given: str | Path | None = None
) -> tuple[tuple[str, ...], tuple[Color, ...]]:
    """
    Return names and colours for the bundle of a checkpoint.

    Parameters
    ----------
    facts : mapping of str
        What the file of weights says beside them; empty for a published one.
    given : str or Path, optional
        A `classes.yaml` that counts instead.

    """
    stated = facts.get('classes')
    if given is not None:
        stated = read_classes(given).as_facts()
    if stated is None and num_classes == len(CITYSCAPES_NAMES):
        return tuple(CITYSCAPES_NAMES), tuple(CITYSCAPES_COLORS)
    if stated is None or len(stated['names']) != num_classes:
        got = 'none' if stated is None else f'{len(stated["names"])}: {", ".join(stated["names"])}'
        raise ValueError(
            f'a bundle must name the {num_classes} classes of its network, got {got}. Give '
            f'{CLASSES_FILE} with their names and colours (docs/own_classes.md).'
        )
    colors = tuple((int(red), int(green), int(blue)) for red, green, blue in stated['colors'])
    return tuple(stated['names']), colors


def _check_classes(file: _File, path: Path) -> None:
    names = [one.name.strip() for one in file.classes]
    if not 2 <= len(names) <= MOST_CLASSES:
        raise ValueError(
            f'{path}: classes must be 2 to {MOST_CLASSES}, got {len(names)}. List all that the '
            'network shall know.'
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or '' in names:
        raise ValueError(
            f'{path}: classes must have different names, got {twice[0] if twice else ""!r} '
            'more than once or none at all. Name each.'
        )
    for one in file.classes:
        color = one.color
        if color is not None and (len(color) != 3 or not all(0 <= c <= 255 for c in color)):
            raise ValueError(
                f'{path}: color must be [red, green, blue] in 0..255, got {color} for {one.name}.'
            )


def _meaning(file: _File, target: int) -> str:
    if target < len(file.classes):
        return file.classes[target].name
    return 'ignore_ids' if target == IGNORED else 'unknown_ids'


def _default_color(place: int) -> Color:
    """Return a colour far from its neighbours': hues a golden section apart."""
    hue = place * 0.618034 % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, 0.9 if place % 2 else 0.65)
    return round(255 * red), round(255 * green), round(255 * blue)
