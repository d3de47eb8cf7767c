"""A trained resynthesis on the disk: its arrays, what they were trained on, and their sum."""

from collections.abc import Mapping
import hashlib
import json
from pathlib import Path
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.files.tensor_header import check_header
from meta_ood_ros.core.files.whole_files import write_whole
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

STATE_FILE, DESCRIPTION_FILE = 'resynthesis.safetensors', 'resynthesis.json'
#: Names of arrays beside the weights of `generator`, `discrepancy` and `dissimilarity`.
SCALE, PERCEPTUAL_SCALE, WEIGHTS = 'scale', 'perceptual_scale', 'ensemble_weights'
_FORMAT = 1
_TRAIN = 'Train it again with meta-ood-train resynthesis.'


def save_trained(
    folder: Path, state: Mapping[str, np.ndarray], description: Mapping[str, Any]
) -> None:
    """Write the arrays, then the description, without which they are not taken for finished."""
    arrays = {key: np.ascontiguousarray(value) for key, value in state.items()}
    content = save_arrays(arrays)
    write_whole(folder / STATE_FILE, content)
    stated = {
        'format': _FORMAT,
        **description,
        'sha256': {STATE_FILE: hashlib.sha256(content).hexdigest()},
    }
    write_whole(folder / DESCRIPTION_FILE, json.dumps(stated, indent=1) + '\n')


def load_trained(folder: str | Path, bundle: Bundle) -> tuple[dict[str, np.ndarray], Any]:
    """
    Return what `save_trained` wrote, for the network it was trained for.

    Returns
    -------
    state : dict of str to ndarray
        As `ResynthesisScorer` and `SynBoostScorer` take it.
    description : dict
        Settings, data, scores on the selection data, where it comes from.

    """
    folder = Path(folder)
    place = folder / DESCRIPTION_FILE
    if not place.is_file():
        raise ValueError(
            f'resynthesis must be a folder with {DESCRIPTION_FILE}, got {str(folder)!r}, which '
            f'has none: not trained, or not to the end. {_TRAIN}'
        )
    try:
        description = json.loads(place.read_text(encoding='utf-8'))
        sums, network = description['sha256'], description['network_sha256']
        expected, version = sums[STATE_FILE], description['format']
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{place} must be one of ours, got {error!r}. {_TRAIN}') from error
    if version != _FORMAT:
        raise ValueError(f'{place} must have format {_FORMAT}, got {version!r}. {_TRAIN}')
    if network != bundle.network_sha256:
        raise ValueError(
            f'resynthesis in {folder} must be trained for the network of {bundle.model_id}, '
            f'{bundle.network_sha256[:12]}..., got one for {str(network)[:12]}.... {_TRAIN}'
        )
    content = (folder / STATE_FILE).read_bytes()
    if hashlib.sha256(content).hexdigest() != expected:
        raise ValueError(
            f'{folder / STATE_FILE} must be as it was written, got another SHA-256: it is damaged '
            f'or was changed. Copy it again, or: {_TRAIN}'
        )
    try:
        check_header(content)
        state = load_arrays(content)
    except (SafetensorError, ValueError) as error:
        raise ValueError(
            f'{folder / STATE_FILE} must be safetensors, got {error}. {_TRAIN}'
        ) from error
    if not all(np.isfinite(one).all() for one in state.values()):
        raise ValueError(f'{folder / STATE_FILE} must be finite, got NaN or infinity. {_TRAIN}')
    return state, description
