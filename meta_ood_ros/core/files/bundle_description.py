"""bundle.yaml <-> the fields of a bundle that are text and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from meta_ood_ros.core.error_text import brief
from meta_ood_ros.core.files.bounded_yaml import read_yaml
from meta_ood_ros.core.files.bundle_checks import BundleError, check_fields
from meta_ood_ros.core.files.bundle_sums import check_own_sum, check_stated, SUMS
from meta_ood_ros.core.segment_metrics import metric_names
import yaml

FORMAT_VERSION = 1

#: What bundle.yaml holds, in its order, and of which type.
FIELDS: dict[str, type | tuple[type, ...]] = {
    'name': str,
    'architecture': str,
    'arguments': dict,
    'class_names': list,
    'class_colors': list,
    'input_mean': list,
    'input_std': list,
    'entropy_threshold': (int, float),
    'meta_threshold': (int, float),
    'core_threshold': (int, float),
    'work_short_side': int,
    'min_size_px': int,
    'label_rule': str,
    'score': str,
    'provenance': dict,
    'licence_of_weights': str,
    'data_terms': str,
}


#: What stands for a key that is missing, and is not written.
ABSENT: dict[str, Any] = {'core_threshold': 0.0, 'score': 'entropy'}


def write_description(fields: Mapping[str, Any], *, classifier_thresholds: list[float]) -> str:
    """Return the text of bundle.yaml."""
    record: dict[str, Any] = {'format_version': FORMAT_VERSION}
    record |= {
        name: _plain(fields[name])
        for name in FIELDS
        if name not in ABSENT or fields[name] != ABSENT[name]
    }
    record['metric_names'] = list(metric_names(len(fields['class_names'])))
    record['classifier_thresholds'] = classifier_thresholds
    return yaml.dump(record, Dumper=_Dumper, sort_keys=False, width=99, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Writes no aliases, which `read_yaml` refuses."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out."""
        return True


def parse_description(where: Path, text: bytes) -> dict[str, Any]:
    """
    Return the fields that a bundle.yaml holds.

    Returns
    -------
    dict
        One entry for each of `FIELDS`, lists as tuples; `classifier_thresholds`, a list, or None
        where the file has none; and `sha256`, a mapping of file names, or None likewise.

    Raises
    ------
    BundleError
        Changed since it was written, not YAML, another version, an unknown or missing key, a
        value of the wrong kind.

    """
    check_own_sum(where, text)
    try:
        record = read_yaml(text)
    except ValueError as error:
        raise BundleError(f'{where} must be YAML, got: {error}. Make the bundle again.') from error
    if not isinstance(record, dict):
        raise BundleError(
            f'{where} must be a mapping, got {type(record).__name__}. Make the bundle again.'
        )
    version = record.pop('format_version', None)
    if version != FORMAT_VERSION or type(version) is not int:
        raise BundleError(
            f'{where} must have format_version {FORMAT_VERSION}, got {brief(version)}. '
            'Install the meta_ood that made it, or make the bundle again.'
        )
    names = record.pop('metric_names', None)
    thresholds = record.pop('classifier_thresholds', None)
    sums = record.pop(SUMS, None)
    _check_keys(where, record)
    if sums is not None:
        check_stated(where, sums, text)
    try:
        description = {
            name: _read_field(name, record.get(name, ABSENT.get(name))) for name in FIELDS
        }
        check_fields(description)
    except BundleError as error:
        raise BundleError(f'{where}: {error}') from error
    expected = list(metric_names(len(description['class_names'])))
    if names != expected:
        raise BundleError(
            f'{where} must list the {len(expected)} metrics that this version measures, got '
            f'{len(names) if isinstance(names, list) else brief(names)}. Make the bundle again.'
        )
    return description | {'classifier_thresholds': thresholds, SUMS: sums}


def _check_keys(where: Path, record: Mapping[str, Any]) -> None:
    for key in record:
        if key not in FIELDS:
            nearest = get_close_matches(str(key)[:99], FIELDS, n=1)
            raise BundleError(
                f'{where} has the unknown key {brief(key)}.'
                + (f' Did you mean {nearest[0]!r}?' if nearest else ' Remove it.')
            )
    missing = [name for name in FIELDS if name not in record and name not in ABSENT]
    if missing:
        raise BundleError(f'{where} must have the key {missing[0]!r}, which is missing. Add it.')


def _read_field(name: str, value: Any) -> Any:
    kind = FIELDS[name]
    fits: bool = isinstance(value, kind) and not isinstance(value, bool)
    if not fits:
        wanted = ' or '.join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise BundleError(f'{name} must be of type {wanted}, got {brief(value)}. Correct it.')
    if name == 'class_colors':
        return tuple(tuple(color) if isinstance(color, list) else color for color in value)
    if isinstance(value, list):
        return tuple(value)
    if kind == (int, float) and abs(value) <= 1:  # a larger one may be no float
        return float(value)
    return value


def _plain(value: Any) -> Any:
    """Return the value with only lists and dicts, as YAML wants it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value.item() if hasattr(value, 'item') else value
