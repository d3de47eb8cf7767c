"""The header of a safetensors file, which is bounded before a library parses it."""

from __future__ import annotations

import json
from typing import Any

from safetensors.torch import load
from torch import Tensor

#: A tensor takes some 100 bytes of header; the largest network here has 1,000 tensors.
LARGEST_HEADER = 1 << 22


def check_header(content: bytes) -> bytes:
    """
    Return the header's text.

    Raises
    ------
    ValueError
        The file ends before it, or it is far larger than any that this package writes.

    """
    length = int.from_bytes(content[:8], 'little')
    if len(content) < 8 or length > len(content) - 8:
        raise ValueError(f'{len(content)} bytes, which end before the header does')
    if length > LARGEST_HEADER:
        raise ValueError(f'a header of {length} bytes, where {LARGEST_HEADER} are the most')
    return content[8 : 8 + length]


def parse_tensors(content: bytes) -> dict[str, Tensor]:
    """Return the tensors of a file whose header is no larger than `check_header` allows."""
    check_header(content)
    return load(content)


def read_metadata(content: bytes) -> dict[str, Any]:
    """Return what a file says about itself."""
    header = json.loads(check_header(content))
    metadata = header.get('__metadata__') if isinstance(header, dict) else None
    return metadata if isinstance(metadata, dict) else {}
