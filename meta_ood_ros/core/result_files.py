"""OodResult <-> disk: one .npz without pickle, whole or absent."""

from __future__ import annotations

import json
from pathlib import Path
import secrets
from typing import Any
import zipfile
import zlib

from meta_ood_ros.core.result import OodResult
from meta_ood_ros.core.segment_metrics import SegmentMetrics
from meta_ood_ros.core.segments import Segments, SegmentSummary
import numpy as np

FORMAT = 1

#: Fields of OodResult that are arrays of their own; `ignored` only where there is a mask.
_MAPS = ('semantic', 'entropy', 'max_probability', 'ood_probability', 'accepted', 'ignored')
_SUMMARY = ('class_id', 'area_px', 'boxes', 'score_mean', 'score_max')
_PLAIN = (
    'entropy_threshold',
    'meta_threshold',
    'core_threshold',
    'classifier_threshold',
    'score',
    'image_size',
    'work_size',
    'milliseconds',
    'class_names',
    'class_colors',
)


def save_result(result: OodResult, path: str | Path) -> None:
    """
    Write a result to one .npz file, which replaces an earlier one only when it is complete.

    Parameters
    ----------
    result : OodResult
        What to keep; without the image.
    path : str or Path
        Ends in .npz; its folder is made where it is missing.

    Raises
    ------
    ValueError
        The path has another ending, which numpy would change.

    """
    target = Path(path)
    if target.suffix != '.npz':
        raise ValueError(f'path of a result must end in .npz, got {str(path)!r}. Append it.')
    plain = {'format': FORMAT, 'metric_names': result.metrics.names}
    plain |= {name: getattr(result, name) for name in _PLAIN}
    arrays = {name: value for name in _MAPS if (value := getattr(result, name)) is not None}
    arrays |= {f'summary_{name}': getattr(result.summary, name) for name in _SUMMARY}
    arrays |= {'labels': result.segments.labels, 'metrics': result.metrics.values}
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f'.{target.name}-{secrets.token_hex(6)}')
    try:
        with beside.open('xb') as stream:
            np.savez_compressed(stream, plain=np.array(json.dumps(plain)), **arrays)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def load_result(path: str | Path) -> OodResult:
    """
    Read what `save_result` wrote.

    Parameters
    ----------
    path : str or Path
        The .npz file.

    Returns
    -------
    OodResult
        Equal to the one saved in every array and number.

    Raises
    ------
    ValueError
        The file is none of these, or damaged, or of another format.
    FileNotFoundError
        There is no such file.

    """
    arrays, plain = _read(Path(path))
    if plain.pop('format', None) != FORMAT:
        raise ValueError(
            f'{path} must be a result of format {FORMAT}, got another. Read it with the version '
            'of meta_ood that wrote it.'
        )
    try:
        names = tuple(plain.pop('metric_names'))
        maps: dict[str, Any] = {name: arrays[name] for name in _MAPS if name != 'ignored'}
        summary = SegmentSummary(**{name: arrays[f'summary_{name}'] for name in _SUMMARY})
        return OodResult(
            **maps,
            segments=Segments(arrays['labels'], len(arrays['accepted'])),
            metrics=SegmentMetrics(arrays['metrics'], names),
            summary=summary,
            ignored=arrays.get('ignored'),
            image_size=tuple(plain.pop('image_size')),
            work_size=tuple(plain.pop('work_size')),
            class_names=tuple(plain.pop('class_names')),
            class_colors=tuple(tuple(one) for one in plain.pop('class_colors')),
            **plain,
        )
    except (KeyError, TypeError) as error:
        raise _refuse(path, error) from error


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return arrays, dict(json.loads(str(arrays.pop('plain'))))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, AttributeError, TypeError, EOFError) as error:
        raise _refuse(path, error) from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise _refuse(path, error) from error


def _refuse(path: str | Path, error: Exception) -> ValueError:
    return ValueError(
        f'{path} must be a whole file written by save_result, got: {error!r}. '
        'It is damaged or another file: compute the result again.'
    )
