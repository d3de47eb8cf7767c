"""What something is, and its tensors <-> one safetensors file with the mark of a format."""

from __future__ import annotations

from collections.abc import Callable
import json
from pathlib import Path
from typing import Any, TypeVar

from meta_ood_ros.core.error_text import first_line
from meta_ood_ros.core.files.tensor_header import read_metadata
import safetensors.numpy

TensorT = TypeVar('TensorT')
Made = TypeVar('Made')


def pack_file(
    mark: str,
    about: Any,
    tensors: dict[str, TensorT],
    save: Callable[..., bytes] = safetensors.numpy.save,
) -> bytes:
    """
    Return the content of a file.

    Parameters
    ----------
    mark : str
        Name and version of the format.
    about : plain values for JSON
        What the tensors are.
    tensors : dict of str to TensorT
        Contiguous, of the library whose `save` it is.

    """
    # One key only: safetensors writes several in random order, and a bundle's digest would vary.
    return save(tensors, metadata={mark: json.dumps(about)})


def parse_file(
    content: bytes,
    where: Path,
    mark: str | tuple[str, ...],
    make: Callable[[Any, dict[str, TensorT]], Made],
    *,
    load: Callable[[bytes], dict[str, TensorT]],
    must: str,
    advice: str,
) -> Made:
    """
    Return what a file's content stands for.

    Parameters
    ----------
    where : Path
        The file, for an error.
    mark : str or tuple of them
        As `pack_file` got it; of several, the file has one.
    make : callable
        Description and tensors -> what is returned; whatever it raises is said of the file.
    load : callable
        Of the library whose tensors are wanted.
    must, advice : str
        What the file must do ('be a file of a fitted score'), and how to get one that does.

    Raises
    ------
    ValueError
        The file is damaged, has another mark, or nothing can be made of it.

    """
    try:
        metadata = read_metadata(content)
        marks = (mark,) if isinstance(mark, str) else mark
        found = next((one for one in marks if one in metadata), '')
        if not found:
            raise ValueError(f'a header without {marks[0]!r}')
        return make(json.loads(metadata[found]), load(content))
    except Exception as error:  # safetensors, json, numpy and torch have several unrelated types
        raise ValueError(f'{where} must {must}, got: {first_line(error)}. {advice}') from error
