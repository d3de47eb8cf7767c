"""What was fitted of a score <-> one safetensors file, without pickle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meta_ood_ros.core.files.tensor_file import pack_file, parse_file
from meta_ood_ros.core.scorers import FittedScore, SCORERS, ScoreScale
import numpy as np
from safetensors.numpy import load

_FORMAT = 'meta_ood.score/1'
_STATE = 'state.'


def pack_score(fitted: FittedScore) -> bytes:
    """Return the content of the file."""
    arrays = {f'{_STATE}{name}': np.ascontiguousarray(one) for name, one in fitted.state.items()}
    arrays |= {'scale.values': fitted.scale.values, 'scale.shares': fitted.scale.shares}
    about = {'name': fitted.name, 'network_sha256': fitted.network_sha256}
    return pack_file(_FORMAT, about, arrays)


def parse_score(content: bytes, where: Path) -> FittedScore:
    """Return what a file's content holds."""
    return parse_file(
        content,
        where,
        _FORMAT,
        _read_score,
        load=load,
        must='be a file of a fitted score',
        advice='Copy the bundle again, or fit again: meta-ood-train fit-score',
    )


def _read_score(about: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> FittedScore:
    scale = ScoreScale(arrays.pop('scale.values'), arrays.pop('scale.shares'))
    state = {name.removeprefix(_STATE): one for name, one in arrays.items()}
    SCORERS[about['name']].from_state(state)
    return FittedScore(about['name'], state, scale, str(about['network_sha256']))
