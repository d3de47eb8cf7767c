"""What each field of a bundle may hold, whoever wrote it: a file or a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import math
from numbers import Integral, Real
from typing import Any

from meta_ood_ros.core.error_text import brief
from meta_ood_ros.core.settings import SCORES, SHORT_SIDES
import numpy as np
import torch
from torch import Tensor

LABEL_RULES = ('deployed', 'published')
_CLASSES = (2, 254)
_LONGEST_NAME = 100
_LONGEST_ARGUMENT = 64
_LARGEST_ARGUMENT = 4096
_LARGEST_SEGMENT = 10_000_000


class BundleError(ValueError):
    """A directory that is not a bundle, or whose parts do not belong together."""


def check_fields(fields: Mapping[str, Any]) -> None:
    """Refuse a field that a network, the pipeline or a message could not use."""
    for name in ('name', 'architecture'):
        _check_name(name, fields[name])
    for name in ('licence_of_weights', 'data_terms'):
        if not isinstance(fields[name], str):
            raise BundleError(f'{name} must be of type str, got {brief(fields[name])}. Quote it.')
    _check_arguments(fields['arguments'])
    classes = _check_class_names(fields['class_names'])
    _check_colors(fields['class_colors'], classes)
    _check_triple('input_mean', fields['input_mean'], -100.0, 100.0)
    _check_triple('input_std', fields['input_std'], 1e-4, 1e4)
    if fields['label_rule'] not in LABEL_RULES:
        raise BundleError(
            f'label_rule must be one of {", ".join(LABEL_RULES)}, got '
            f'{brief(fields["label_rule"])}. fit-meta writes the right one.'
        )
    if fields['score'] not in SCORES:
        raise BundleError(
            f'score must be one of {", ".join(SCORES)}, got {brief(fields["score"])}. '
            'fit-score writes the right one.'
        )
    _check_thresholds(
        fields['entropy_threshold'], fields['meta_threshold'], fields['core_threshold']
    )
    _check_integers(fields['work_short_side'], fields['min_size_px'])
    if not isinstance(fields['provenance'], Mapping):
        raise BundleError(
            f'provenance must be a mapping, got {brief(fields["provenance"])}. {{}} says nothing.'
        )


def check_weights(weights: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not numbers."""
    for name, value in weights.items():
        if value.is_complex():
            raise BundleError(f'weights must be real numbers, got {value.dtype} in {brief(name)}.')
        if not value.is_floating_point():
            continue
        exact = value.float() if value.element_size() == 1 else value
        if not bool(torch.isfinite(exact).all()):
            raise BundleError(
                f'weights must be finite, got NaN or infinity in {brief(name)}. The training '
                'diverged or the file is damaged: make or copy the bundle again.'
            )


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
    try:
        return is_real and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _check_name(field: str, value: Any) -> None:
    if not isinstance(value, str):
        raise BundleError(
            f"{field} must be of type str, got {brief(value)}. Quote it, as in '{field}'."
        )
    if not value.strip() or value != value.strip() or not value.isprintable():
        raise BundleError(f'{field} must be printable text, got {brief(value)}. Give it a name.')
    if len(value) > _LONGEST_NAME:
        raise BundleError(
            f'{field} must have at most {_LONGEST_NAME} letters, got {len(value)}: '
            f'{brief(value)}. Shorten it.'
        )


def _check_arguments(arguments: Any) -> None:
    if not isinstance(arguments, Mapping):
        raise BundleError(f'arguments must be a mapping, got {brief(arguments)}. {{}} has none.')
    for key, value in arguments.items():
        _check_name('key of arguments', key)
        parts = value if isinstance(value, list | tuple) else [value]
        if len(parts) > _LONGEST_ARGUMENT:
            raise BundleError(
                f'argument {key} must have at most {_LONGEST_ARGUMENT} entries, got '
                f'{len(parts)}. Shorten it.'
            )
        for part in parts:
            fits = isinstance(part, bool | str) or (
                _is_number(part) and abs(part) <= _LARGEST_ARGUMENT
            )
            if not fits:
                raise BundleError(
                    f'argument {key} must be text, true, false or numbers up to '
                    f'{_LARGEST_ARGUMENT}, got {brief(value)}. Write it as the network takes it.'
                )


def _check_class_names(names: Any) -> int:
    low, high = _CLASSES
    if not isinstance(names, list | tuple) or not low <= len(names) <= high:
        got = len(names) if isinstance(names, list | tuple) else brief(names)
        raise BundleError(
            f'class_names must have {low} to {high} entries, got {got}. Name each class once.'
        )
    for index, name in enumerate(names):
        _check_name(f'class_names[{index}]', name)
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BundleError(
            f'class_names must differ from each other, got {brief(twice)} twice. Rename one.'
        )
    return len(names)


def _check_colors(colors: Any, classes: int) -> None:
    is_list = isinstance(colors, list | tuple)
    if not is_list or len(colors) != classes:
        raise BundleError(
            f'class_colors must have one colour for each of the {classes} classes, got '
            f'{len(colors) if is_list else brief(colors)}. Add or remove some.'
        )
    for index, color in enumerate(colors):
        fits = isinstance(color, list | tuple) and len(color) == 3
        if not fits or not all(_is_integer(part) and 0 <= part <= 255 for part in color):
            raise BundleError(
                f'class_colors[{index}] must be three integers in [0, 255] (R, G, B), got '
                f'{brief(color)}. Write it as in [128, 64, 128].'
            )


def _check_triple(field: str, value: Sequence[Any], low: float, high: float) -> None:
    fits = isinstance(value, list | tuple) and len(value) == 3
    if not fits or not all(_is_number(part) for part in value):
        raise BundleError(
            f'{field} must have 3 numbers (R, G, B), got '
            f'{brief(list(value) if isinstance(value, tuple) else value)}. They are of RGB in '
            '[0, 1], as in [0.485, 0.456, 0.406].'
        )
    if not all(low <= part <= high for part in value):
        raise BundleError(
            f'{field} must lie in [{low:g}, {high:g}], got {brief(list(value))}. '
            'It is of RGB values in [0, 1].'
        )


def _check_thresholds(entropy_threshold: Any, meta_threshold: Any, core_threshold: Any) -> None:
    for field, value in (
        ('entropy_threshold', entropy_threshold),
        ('meta_threshold', meta_threshold),
        ('core_threshold', core_threshold),
    ):
        if not isinstance(value, Real) or isinstance(value, bool):
            raise BundleError(f'{field} must be a number, got {brief(value)}. Write it as in 0.5.')
    if not 0.0 < entropy_threshold <= 1.0:
        raise BundleError(
            f'entropy_threshold must lie in (0, 1], got {brief(entropy_threshold)}. '
            'It is a share of log C, not a percentage.'
        )
    if not 0.0 <= meta_threshold <= 1.0:
        raise BundleError(
            f'meta_threshold must lie in [0, 1], got {brief(meta_threshold)}. It is a probability.'
        )
    if not 0.0 <= core_threshold <= 1.0:
        raise BundleError(
            f'core_threshold must lie in [0, 1], got {brief(core_threshold)}. It is a share of '
            'log C; 0 publishes segments as they were judged.'
        )


def _check_integers(work_short_side: Any, min_size_px: Any) -> None:
    for field, value in (('work_short_side', work_short_side), ('min_size_px', min_size_px)):
        if not _is_integer(value):
            raise BundleError(f'{field} must be of type int, got {brief(value)}. It is in pixels.')
    low, high = SHORT_SIDES
    if work_short_side and not low <= work_short_side <= high:
        raise BundleError(
            f'work_short_side must be 0 or lie in [{low}, {high}], got '
            f'{brief(work_short_side)}. 0 works at the size received.'
        )
    if not 0 <= min_size_px <= _LARGEST_SEGMENT:
        raise BundleError(
            f'min_size_px must lie in [0, {_LARGEST_SEGMENT}], got {brief(min_size_px)}. '
            '0 keeps every segment.'
        )
