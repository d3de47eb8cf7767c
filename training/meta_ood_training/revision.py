"""The source tree and the machine that wrote a result."""

from pathlib import Path
import platform
import subprocess

import torch


def source_revision() -> str:
    """
    Return the git revision of the source tree.

    Returns
    -------
    str
        Twelve hex digits, `+` behind them where tracked files differ; 'unknown' outside git.

    """
    here = Path(__file__).parent
    try:
        revision = _git(here, 'rev-parse', '--short=12', 'HEAD')
        changed = _git(here, 'status', '--porcelain', '--untracked-files=no', '--', '.')
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'
    return revision + ('+' if changed else '')


def machine() -> str:
    """
    Return what a result was computed on.

    Returns
    -------
    str
        Processor and accelerator, without the machine's name.

    """
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU'
    return f'{platform.machine()}, {torch.get_num_threads()} threads, {device}'


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(['git', *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()
