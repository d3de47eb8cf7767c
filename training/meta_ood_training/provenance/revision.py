"""The source tree and the machine that wrote a result."""

from collections.abc import Mapping
from pathlib import Path
import platform
import subprocess
from typing import Any

import torch

_SOURCES = (':/training', ':/meta_ood_ros', ':/config')
OF_ONE_PROCESS = ('command', 'revision', 'machine')
"""Facts of a run that each process which goes on with it may have others of."""


def source_revision() -> str:
    """
    Return the git revision of the source tree.

    Returns
    -------
    str
        Twelve hex digits, `+` behind them where tracked files differ: of this package, of what it
        imports, or of the configurations; 'unknown' outside git.

    """
    here = Path(__file__).parent
    try:
        revision = _git(here, 'rev-parse', '--short=12', 'HEAD')
        changed = _git(here, 'status', '--porcelain', '--untracked-files=no', '--', *_SOURCES)
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'
    return revision + ('+' if changed else '')


def machine() -> str:
    """Return what a result was computed on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU'
    return f'{platform.machine()}, {torch.get_num_threads()} threads, {device}'


def add_process(earlier: Mapping[str, Any], now: Mapping[str, Any], step: int) -> dict[str, Any]:
    """
    Return the facts of a run with which another process goes on.

    Returns
    -------
    dict
        The facts of this process, but OF_ONE_PROCESS as the run was begun; `resumed` lists those
        of the later processes that differ from the one before them, with their `step`.

    """
    resumed = list(earlier.get('resumed') or [])
    own = {key: now.get(key) for key in OF_ONE_PROCESS}
    latest = resumed[-1] if resumed else earlier
    if any(latest.get(key) != value for key, value in own.items()):
        resumed.append({'step': step, **own})
    began = {key: earlier.get(key) for key in OF_ONE_PROCESS}
    return {**now, **began, **({'resumed': resumed} if resumed else {})}


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(['git', *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()
