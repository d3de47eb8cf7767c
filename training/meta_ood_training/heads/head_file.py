"""
What tells the unknown beside the logits of a bundle's network <-> one safetensors file.

The file says which network it was trained with, and the SHA-256 of its tensors.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
import hashlib
from pathlib import Path
from typing import Any

from meta_ood_ros.core.error_text import brief
from meta_ood_ros.core.files.tensor_file import pack_file, parse_file
from meta_ood_ros.core.files.whole_files import write_whole
from meta_ood_ros.core.networks import load_weights, OodNetwork
from meta_ood_training.heads.beside import head_kind, HeadSettings, NetworkWithHead
from meta_ood_training.heads.scorers import SCORERS
from safetensors.torch import load, save
import torch
from torch import Tensor

HEAD_FILE = 'ood_head.safetensors'
"""Its name in the directory of a bundle."""
_FORMAT = 'meta_ood.head/1'


@dataclass(frozen=True, eq=False)
class TrainedHead:
    """
    What a run trained beside a network.

    Attributes
    ----------
    kind : str
        Which objective it was trained with, a key of `SCORERS`.
    settings : HeadSettings or None
        Of the block; None for `dirichlet`, which is all in the network.
    weights : mapping of str to Tensor
        Of the block.
    network_sha256 : str
        `Bundle.network_sha256` of the network that it belongs to.

    """

    kind: str
    settings: HeadSettings | None = None
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    network_sha256: str = ''

    def attach(self, network: OodNetwork, *, sha256: str = '') -> OodNetwork:
        """
        Return the network with this head, in evaluation mode.

        Parameters
        ----------
        network : OodNetwork
            As `Bundle.build_network` gives it.
        sha256 : str
            `Bundle.network_sha256`; another one than the head's is refused.

        """
        if sha256 and self.network_sha256 not in ('', sha256):
            raise ValueError(
                f'{HEAD_FILE} must be trained with the network beside it, {sha256[:12]}..., got '
                f'one of {self.network_sha256[:12]}.... Export the run again.'
            )
        if self.settings is None:
            return network.eval()
        joined = NetworkWithHead(network, head_kind(self.kind), self.settings)
        load_weights(joined.extra_head, self.weights, source=HEAD_FILE)
        return joined.eval()


def save_head(path: Path, head: TrainedHead) -> None:
    """Write a head, as a whole or not at all."""
    tensors = {name: one.detach().cpu().contiguous() for name, one in head.weights.items()}
    settings = head.settings
    record = {
        'kind': head.kind,
        'inputs': list(settings.inputs) if settings else [],
        'hidden': settings.hidden if settings else 0,
        'network_sha256': head.network_sha256,
        'sha256': _sum(tensors),
    }
    write_whole(path, pack_file(_FORMAT, record, tensors, save))


def load_head(path: Path) -> TrainedHead:
    """
    Read what `save_head` wrote.

    Raises
    ------
    ValueError
        The file is damaged or holds no head.

    """
    return parse_file(
        path.read_bytes(),
        path,
        _FORMAT,
        _read_head,
        load=load,
        must='hold the head of a network',
        advice='Copy the bundle again, or export the run again: meta-ood-train bundle',
    )


def _read_head(record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TrainedHead:
    if record['kind'] not in SCORERS:
        raise ValueError(f'the kind {brief(record["kind"])}')
    if _sum(tensors) != record['sha256']:
        raise ValueError('tensors of another SHA-256 than it states')
    inputs = tuple(str(name) for name in record['inputs'])
    settings = HeadSettings(inputs, int(record['hidden'])) if inputs else None
    return TrainedHead(record['kind'], settings, tensors, str(record['network_sha256']))


def find_head(directory: Path) -> TrainedHead | None:
    """Return the head in a bundle's directory, where there is one."""
    path = directory / HEAD_FILE
    return load_head(path) if path.is_file() else None


def _sum(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        one = tensors[name]
        digest.update(f'{name} {one.dtype} {tuple(one.shape)};'.encode())
        digest.update(one.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
