"""
What a method was fitted to <-> one safetensors file: arrays, and whose they are. No pickle.

Several methods may share a file: the flows of one fit serve every way to join their layers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
import json
from pathlib import Path
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.error_text import brief, first_line
from meta_ood_ros.core.files.tensor_header import read_metadata
from meta_ood_ros.core.files.whole_files import write_whole
import numpy as np
from safetensors.numpy import load, save

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
        about = {'method': self.method, 'network_sha256': self.network_sha256, 'facts': self.facts}
        arrays = {name: np.ascontiguousarray(one) for name, one in self.state.items()}
        write_whole(path, save(arrays, metadata={_FORMAT: json.dumps(about, default=str)}))

    @classmethod
    def load(cls, path: Path) -> 'FittedFile':
        """Read a file, or say what it is instead."""
        content = path.read_bytes()
        try:
            metadata = read_metadata(content)
            if _FORMAT not in metadata:
                raise ValueError(f'a header without {_FORMAT!r}')
            about = json.loads(metadata[_FORMAT])
            state = load(content)
            for name, one in state.items():
                if one.dtype.kind == 'f' and not np.isfinite(one).all():
                    raise ValueError(f'{brief(name)}, which is not finite')
            return cls(
                str(about['method']), str(about['network_sha256']), state, dict(about['facts'])
            )
        except Exception as error:  # safetensors, json and numpy have several unrelated types
            raise ValueError(
                f'{path} must be a file of a fitted method, got: {first_line(error)}. '
                'Copy it again, or fit again: meta-ood-train fit-score'
            ) from error


def load_state(path: Path, methods: tuple[str, ...], bundle: Bundle) -> Mapping[str, np.ndarray]:
    """
    Return what one of some methods was fitted to with the network of a bundle.

    Parameters
    ----------
    path : Path
        The file, or a folder in which `<method>.safetensors` of the first of them lies.
    methods : tuple of str
        Whose state serves.

    """
    if path.is_dir():
        found = [path / f'{one}{SUFFIX}' for one in methods]
        there = [one for one in found if one.is_file()]
        if not there:
            raise ValueError(
                f'{path} must hold {" or ".join(one.name for one in found)}, got none of them. '
                f'Fit it: meta-ood-train fit-score {methods[0]}'
            )
        path = there[0]
    fitted = FittedFile.load(path)
    if fitted.method not in methods:
        raise ValueError(
            f'{path} must be fitted for {" or ".join(methods)}, got {brief(fitted.method)}. '
            f'Fit it: meta-ood-train fit-score {methods[0]}'
        )
    if fitted.network_sha256 != bundle.network_sha256:
        raise ValueError(
            f'{path} must be fitted with the network of {bundle.model_id}, '
            f'{bundle.network_sha256[:12]}..., got {fitted.network_sha256[:12]}.... '
            f'Fit it again with this bundle: meta-ood-train fit-score {methods[0]}'
        )
    return fitted.state


def broken_state(method: str, error: Exception) -> ValueError:
    """Return the error of a state from which a scorer cannot be made."""
    return ValueError(
        f'state of {method} must be what its fit gave, got: {first_line(error)}. '
        f'Fit again: meta-ood-train fit-score {method}'
    )
