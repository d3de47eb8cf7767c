"""Published checkpoints -> weights of our networks, without running anything found in the file."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from meta_ood_ros.core.error_text import first_line
from meta_ood_ros.core.files.tensor_header import parse_tensors
from meta_ood_ros.core.networks.ood_network import OodNetwork
import numpy as np
import torch
from torch import nn, Tensor

PREFIX = 'module.'  # left by DataParallel; both NVIDIA's and the paper authors' files carry it
# PyTorch before 0.4.1 did not save this counter, and inference does not use it.
OPTIONAL = 'num_batches_tracked'

# Beside the weights, published files hold their score as a numpy number. These names rebuild a
# number and can do nothing else; numpy 1 and 2 spell the module differently.
_NUMPY_NUMBER: list[Any] = [
    np.dtype,
    type(np.dtype('float32')),
    type(np.dtype('float64')),
    (np.float64(0.0).__reduce__()[0], 'numpy.core.multiarray.scalar'),
    (np.float64(0.0).__reduce__()[0], 'numpy._core.multiarray.scalar'),
]


def load_checkpoint(path: Path | str) -> dict[str, Tensor]:
    """
    Read the weights in a .pth, .pt, .npz or .safetensors file onto the CPU.

    The file may hold the state dict itself or a record with the entry `state_dict`. Only tensors
    and plain values are read (torch.load with weights_only, numpy.load without pickle): code in
    the file is not executed.

    Parameters
    ----------
    path : Path or str
        A file written by torch.save, of any PyTorch version, by numpy.savez, or the network of a
        bundle.

    Returns
    -------
    dict of str to Tensor
        Names, without the prefix `module.`, and tensors as stored.

    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'Checkpoint must be a file written by torch.save or numpy.savez, but {path} does not '
            'exist or is not a file. Check the path.'
        )
    if path.suffix == '.npz':
        return _read_arrays(path)
    if path.suffix == '.safetensors':
        try:
            return parse_tensors(path.read_bytes())
        except Exception as error:  # safetensors and torch have several unrelated types
            raise ValueError(
                f'Checkpoint must be a safetensors file, but {path} cannot be read so: '
                f'{first_line(error)}. Copy it again from the bundle.'
            ) from error
    try:
        with _trust_numpy_numbers():
            record = torch.load(path, map_location='cpu', weights_only=True)
    # A damaged stream makes the reader fail with almost any exception.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f'Checkpoint must hold tensors and plain values only, but {path} cannot be read so: '
            f'{reason} Download it again, or save its state_dict alone with torch.save.'
        ) from error
    if isinstance(record, Mapping) and isinstance(record.get('state_dict'), Mapping):
        record = record['state_dict']
    if not isinstance(record, Mapping) or not record:
        raise ValueError(_not_weights(path, f'a {type(record).__name__} without entries'))
    for name, value in record.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(_not_weights(path, f'a {type(value).__name__} at {name!r}'))
    if all(name.startswith(PREFIX) for name in record):
        return {name.removeprefix(PREFIX): value for name, value in record.items()}
    return dict(record)


def load_weights(network: nn.Module, state_dict: Mapping[str, Tensor], *, source: str) -> None:
    """
    Copy weights into a network of exactly the same architecture.

    Nothing is copied unless all names and shapes agree; only `num_batches_tracked` may be missing.

    Parameters
    ----------
    network : Module
        Changed in place.
    state_dict : mapping of str to Tensor
        As `load_checkpoint` gives it.
    source : str
        Where the weights come from, for the error message.

    """
    if isinstance(network, OodNetwork):
        state_dict = network.own_names(state_dict)
    own = network.state_dict()
    missing = [name for name in own if name not in state_dict and not name.endswith(OPTIONAL)]
    unexpected = [name for name in state_dict if name not in own]
    if missing or unexpected:
        raise ValueError(
            f'Weights must have the {len(own)} names of {type(network).__name__}, but {source} '
            f'lacks {_listed(missing)} and has {_listed(unexpected)} that the network does not '
            'know. Name the architecture that the file was saved from.'
        )
    for name, value in state_dict.items():
        if value.shape != own[name].shape:
            raise ValueError(
                f'{name} of {type(network).__name__} must have the shape '
                f'{tuple(own[name].shape)}, but {source} has {tuple(value.shape)}. Build the '
                'network with the arguments, such as num_classes, that the file was saved from.'
            )
    network.load_state_dict(state_dict, strict=False)


def _read_arrays(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    # A bare .npy gives an array, and a damaged archive makes the reader fail in many ways.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f'Checkpoint must be an archive of numeric arrays written by numpy.savez, but {path} '
            f'cannot be read so: {reason} Download it again.'
        ) from error
    for name, array in arrays.items():
        if array.dtype.kind != 'f' or array.size == 0:
            raise ValueError(
                f'Checkpoint must hold floating point arrays with entries, but {name} in {path} '
                f'has the type {array.dtype} and the shape {array.shape}. Save the weights '
                'themselves, scaled if they were quantised.'
            )
    if not arrays:
        raise ValueError(_not_weights(path, 'an archive without entries'))
    return {
        name: torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
        for name, array in arrays.items()
    }


def _trust_numpy_numbers() -> AbstractContextManager[object]:
    # before PyTorch 2.6, which takes pairs of object and name, such a file is refused instead
    if not hasattr(torch.serialization, 'get_unsafe_globals_in_checkpoint'):
        return nullcontext()
    return torch.serialization.safe_globals(_NUMPY_NUMBER)


def _not_weights(path: Path, found: str) -> str:
    return (
        f'Checkpoint must map names to tensors, directly or under state_dict, but {path} holds '
        f'{found}. Save the state_dict of the network with torch.save.'
    )


def _listed(names: Iterable[str], most: int = 3) -> str:
    names = list(names)
    if not names:
        return 'none'
    rest = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + rest
