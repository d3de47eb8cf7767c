"""What was fitted of a score <-> one safetensors file, without pickle."""

import json
from pathlib import Path

from meta_ood_ros.core.error_text import first_line
from meta_ood_ros.core.files.tensor_header import read_metadata
from meta_ood_ros.core.scorers import FittedScore, SCORERS, ScoreScale
import numpy as np
from safetensors.numpy import load, save

_FORMAT = 'meta_ood.score/1'
_STATE = 'state.'


def pack_score(fitted: FittedScore) -> bytes:
    """Return the content of the file."""
    arrays = {f'{_STATE}{name}': np.ascontiguousarray(one) for name, one in fitted.state.items()}
    arrays |= {'scale.values': fitted.scale.values, 'scale.shares': fitted.scale.shares}
    about = {'name': fitted.name, 'network_sha256': fitted.network_sha256}
    content: bytes = save(arrays, metadata={_FORMAT: json.dumps(about)})
    return content


def parse_score(content: bytes, where: Path) -> FittedScore:
    """Return what a file's content holds."""
    try:
        metadata = read_metadata(content)
        if _FORMAT not in metadata:
            raise ValueError(f'a header without {_FORMAT!r}')
        about = json.loads(metadata[_FORMAT])
        arrays = load(content)
        scale = ScoreScale(arrays.pop('scale.values'), arrays.pop('scale.shares'))
        state = {name.removeprefix(_STATE): one for name, one in arrays.items()}
        SCORERS[about['name']].from_state(state)
        return FittedScore(about['name'], state, scale, str(about['network_sha256']))
    except Exception as error:  # safetensors, json and numpy have several unrelated types
        raise ValueError(
            f'{where} must be a file of a fitted score, got: {first_line(error)}. '
            'Copy the bundle again, or fit again: meta-ood-train fit-score'
        ) from error
