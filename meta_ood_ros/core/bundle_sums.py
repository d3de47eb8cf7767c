"""The SHA-256 of each file of a bundle, in bundle.yaml; its own stands in its last line."""

from __future__ import annotations

from collections.abc import Mapping
import hashlib
from pathlib import Path
import re
from typing import Any

from meta_ood_ros.core.bundle_checks import BundleError
from meta_ood_ros.core.error_text import brief

SUMS = 'sha256'
_OWN_LINE = re.compile(rb'\n  bundle\.yaml: ([0-9a-f]{64})\n\Z')
_OWN = 'bundle.yaml'
_REPAIR = (
    'It is damaged, belongs to another bundle or was changed by hand: copy or make the bundle '
    f'again, or, after a change on purpose, remove {SUMS!r} and all below it.'
)


def add_sums(description: str, files: Mapping[str, bytes]) -> bytes:
    """Return bundle.yaml with the sums of the other files and of itself."""
    lines = [f'  {name}: {hashlib.sha256(content).hexdigest()}' for name, content in files.items()]
    text = '\n'.join([f'{description.rstrip()}', f'{SUMS}:', *lines, '']).encode()
    return text + f'  {_OWN}: {hashlib.sha256(text).hexdigest()}\n'.encode()


def check_own_sum(where: Path, text: bytes) -> None:
    """Refuse a bundle.yaml that was changed since it was written, before it is read."""
    found = _OWN_LINE.search(text)
    if found is None:
        return
    got = hashlib.sha256(text[: found.start() + 1]).hexdigest()
    _compare(where, found[1].decode(), got)


def check_stated(where: Path, sums: Any, text: bytes) -> None:
    """Refuse sums that say nothing, in a description that says it has some."""
    fits = isinstance(sums, dict) and all(
        isinstance(name, str) and re.fullmatch('[0-9a-f]{64}', str(one))
        for name, one in sums.items()
    )
    if not fits or _OWN_LINE.search(text) is None:
        raise BundleError(
            f'{where}: {SUMS} must name the SHA-256 of each file and end with that of {_OWN}, got '
            f'{brief(sums)}. {_REPAIR}'
        )


def check_sums(directory: Path, sums: Mapping[str, str], files: Mapping[str, bytes]) -> None:
    """Refuse a file that is not the one whose sum the description states."""
    stated = {name for name in sums if name != _OWN}
    if stated != set(files):
        raise BundleError(
            f'bundle {str(directory)!r} must hold the files that {_OWN} states, '
            f'{", ".join(sorted(stated)) or "none"}, got {", ".join(sorted(files))}. {_REPAIR}'
        )
    for name, content in files.items():
        _compare(directory / name, sums[name], hashlib.sha256(content).hexdigest())


def _compare(where: Path, expected: str, got: str) -> None:
    if got != expected:
        raise BundleError(
            f'{where} must have the SHA-256 that {_OWN} states, {expected[:12]}..., got '
            f'{got[:12]}.... {_REPAIR}'
        )
