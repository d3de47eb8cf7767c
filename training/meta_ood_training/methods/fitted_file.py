"""What a method was fitted to <-> one safetensors file: arrays, and whose they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
import json
from pathlib import Path
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.error_text import brief, first_line
from meta_ood_ros.core.files.tensor_file import pack_file, parse_file
from meta_ood_ros.core.files.whole_files import write_whole
import numpy as np
from safetensors.numpy import load

SUFFIX = '.safetensors'
_FORMAT = 'meta_ood.fitted_method/1'


@dataclass(frozen=True, eq=False)
class FittedFile:
    """
    A fitted method.

    Attributes
    ----------
    method : str
        Whose state it is.
    network_sha256 : str
        Of the network that it was fitted with.
    state : mapping of str to ndarray
        As `Scorer.state` gave it.
    facts : mapping
        Data, options, seed, revision: what the fit depends on.

    """

    method: str
    network_sha256: str
    state: Mapping[str, np.ndarray]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the file as a whole."""
        about = {'method': self.method, 'network_sha256': self.network_sha256}
        about |= {'facts': json.loads(json.dumps(self.facts, default=str))}
        arrays = {name: np.asarray(one, order='C') for name, one in self.state.items()}
        write_whole(path, pack_file(_FORMAT, about, arrays))

    @classmethod
    def load(cls, path: Path) -> 'FittedFile':
        """Read a file, or say what it is instead."""
        return parse_file(
            path.read_bytes(),
            path,
            _FORMAT,
            _read_fitted,
            load=load,
            must='be a file of a fitted method',
            advice='Copy it again, or fit again: meta-ood-train fit-score',
        )


def _read_fitted(about: Mapping[str, Any], state: Mapping[str, np.ndarray]) -> FittedFile:
    for name, one in state.items():
        if one.dtype.kind == 'f' and not np.isfinite(one).all():
            raise ValueError(f'{brief(name)}, which is not finite')
    return FittedFile(
        str(about['method']), str(about['network_sha256']), state, dict(about['facts'])
    )


def load_state(path: Path, method: str, bundle: Bundle) -> Mapping[str, np.ndarray]:
    """
    Return what a method was fitted to with the network of a bundle.

    Parameters
    ----------
    path : Path
        The file, or a folder in which `<method>.safetensors` lies.

    """
    again = f'Fit it: meta-ood-train fit-score {method}'
    if path.is_dir():
        path = path / f'{method}{SUFFIX}'
    if not path.is_file():
        raise ValueError(f'{path} must be a file of a fitted method, got no such file. {again}')
    fitted = FittedFile.load(path)
    if fitted.method != method:
        raise ValueError(
            f'{path} must be fitted for {method}, got {brief(fitted.method)}. {again}'
        )
    if fitted.network_sha256 != bundle.network_sha256:
        raise ValueError(
            f'{path} must be fitted with the network of {bundle.model_id}, '
            f'{bundle.network_sha256[:12]}..., got {brief(fitted.network_sha256[:12])}. {again}'
        )
    return fitted.state


def broken_state(method: str, error: Exception) -> ValueError:
    """Return the error of a state from which a scorer cannot be made."""
    return ValueError(
        f'state of {method} must be what its fit gave, got: {first_line(error)}. '
        f'Fit again: meta-ood-train fit-score {method}'
    )
