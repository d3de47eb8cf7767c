"""Meta classifiers <-> one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meta_ood_ros.core.error_text import brief
from meta_ood_ros.core.files.tensor_file import pack_file, parse_file
from meta_ood_ros.core.files.whole_files import write_whole
from meta_ood_ros.core.meta_classifier import MetaClassifier
from meta_ood_ros.core.meta_models.boosted_trees import BoostedTrees
from meta_ood_ros.core.meta_models.dense_layers import DenseLayers
import numpy as np
from safetensors.numpy import load

_FORMAT = 'meta_ood.meta_classifiers/1'
#: With trees among them, which an older robot must refuse by the mark.
_FORMAT_WITH_TREES = 'meta_ood.meta_classifiers/2'
_TREES = {
    'roots': np.int32,
    'features': np.int32,
    'thresholds': np.float64,
    'children': np.int32,
    'values': np.float64,
}
_MOST_LAYERS = 16


def save_meta_classifiers(path: str | Path, classifiers: Sequence[MetaClassifier]) -> None:
    """
    Write classifiers, one for each entropy threshold, into one safetensors file.

    Parameters
    ----------
    path : str or Path
        File to write; an existing one is replaced.
    classifiers : sequence of MetaClassifier
        In any order; each with an entropy threshold of its own.

    Raises
    ------
    ValueError
        Two of them belong to the same entropy threshold.

    """
    write_whole(Path(path), pack_meta_classifiers(classifiers))


def load_meta_classifiers(path: str | Path) -> tuple[MetaClassifier, ...]:
    """
    Read what `save_meta_classifiers` wrote.

    Parameters
    ----------
    path : str or Path
        The safetensors file.

    Raises
    ------
    ValueError
        The file is damaged or is no file of meta classifiers.

    """
    return parse_meta_classifiers(Path(path).read_bytes(), Path(path))


def pack_meta_classifiers(classifiers: Sequence[MetaClassifier]) -> bytes:
    """Return the content of the file."""
    thresholds = [one.entropy_threshold for one in classifiers]
    if len(set(thresholds)) != len(thresholds):
        raise ValueError(
            f'each meta classifier needs its own entropy threshold, got {thresholds}. Keep one.'
        )
    tensors: dict[str, np.ndarray] = {}
    records = []
    for index, one in enumerate(classifiers):
        size = _pack_model(tensors, index, one.model)
        record = {
            'kind': one.kind,
            **size,
            'metric_names': list(one.metric_names),
            'entropy_threshold': one.entropy_threshold,
            'calibration': list(one.calibration),
        }
        record |= {'network_sha256': one.network_sha256} if one.network_sha256 else {}
        record |= {'score': one.score} if one.score != 'entropy' else {}
        records.append(record)
    with_trees = any(isinstance(one.model, BoostedTrees) for one in classifiers)
    return pack_file(_FORMAT_WITH_TREES if with_trees else _FORMAT, records, tensors)


def _pack_model(
    tensors: dict[str, np.ndarray], index: int, model: DenseLayers | BoostedTrees
) -> dict[str, Any]:
    """Add the arrays of a model; return what its record says of them."""
    if isinstance(model, BoostedTrees):
        for name, dtype in _TREES.items():
            tensors[f'{index}.{name}'] = np.ascontiguousarray(getattr(model, name), dtype=dtype)
        return {'prior': model.prior}
    tensors[f'{index}.mean'] = np.ascontiguousarray(model.mean, dtype=np.float64)
    tensors[f'{index}.scale'] = np.ascontiguousarray(model.scale, dtype=np.float64)
    for layer, (weight, bias) in enumerate(model.layers):
        tensors[f'{index}.{layer}.weight'] = np.ascontiguousarray(weight, dtype=np.float64)
        tensors[f'{index}.{layer}.bias'] = np.ascontiguousarray(bias, dtype=np.float64)
    return {'layers': len(model.layers)}


def parse_meta_classifiers(content: bytes, where: Path) -> tuple[MetaClassifier, ...]:
    """Return the classifiers of a file's content."""
    return parse_file(
        content,
        where,
        (_FORMAT, _FORMAT_WITH_TREES),
        _read_classifiers,
        load=load,
        must='be a file of meta classifiers',
        advice='Copy the bundle again, or fit again: meta-ood-train fit-meta',
    )


def _read_classifiers(
    records: Sequence[Mapping[str, Any]], tensors: Mapping[str, np.ndarray]
) -> tuple[MetaClassifier, ...]:
    return tuple(_read_classifier(tensors, index, one) for index, one in enumerate(records))


def _read_classifier(
    tensors: Mapping[str, np.ndarray], index: int, record: Mapping[str, Any]
) -> MetaClassifier:
    slope, intercept = record['calibration']
    return MetaClassifier(
        kind=record['kind'],
        model=_read_model(tensors, index, record),
        metric_names=tuple(record['metric_names']),
        entropy_threshold=float(record['entropy_threshold']),
        calibration=(float(slope), float(intercept)),
        network_sha256=str(record.get('network_sha256', '')),
        score=str(record.get('score', 'entropy')),
    )


def _read_model(
    tensors: Mapping[str, np.ndarray], index: int, record: Mapping[str, Any]
) -> DenseLayers | BoostedTrees:
    if 'prior' in record:
        arrays = {name: tensors[f'{index}.{name}'] for name in _TREES}
        return BoostedTrees(prior=float(record['prior']), **arrays)
    layers = record['layers']
    if type(layers) is not int or not 1 <= layers <= _MOST_LAYERS:
        raise ValueError(f'{brief(layers)} layers, where 1 to {_MOST_LAYERS} are possible')
    return DenseLayers(
        layers=tuple(
            (tensors[f'{index}.{k}.weight'], tensors[f'{index}.{k}.bias']) for k in range(layers)
        ),
        mean=tensors[f'{index}.mean'],
        scale=tensors[f'{index}.scale'],
    )
