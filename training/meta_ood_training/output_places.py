"""What stands at `--output` is not replaced unless told, nor written by two processes at once."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
import fcntl
import os
from pathlib import Path

#: Locked folders of this process. Its workers let go of them: those of a killed run live on for
#: some seconds, and would keep it from being resumed.
_held: set[int] = set()


def _let_go() -> None:
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_let_go)


def add_overwrite(parser: argparse._ActionsContainer) -> None:
    """Declare --overwrite."""
    parser.add_argument('--overwrite', action='store_true', help='replace what is in --output')


def check_free(path: Path | None, *, overwrite: bool, option: str = '--output') -> None:
    """Refuse a file, or a folder that holds something."""
    if path is None or overwrite or not path.exists():
        return
    if path.is_dir():
        there = sorted(one.name for one in path.iterdir())
        if not there:
            return
        held = f'which holds {", ".join(there[:3])}{", ..." if len(there) > 3 else ""}'
    else:
        held = 'a file'
    raise ValueError(
        f'{option} must be new, got {path}, {held}. Choose another, or add --overwrite.'
    )


@contextmanager
def hold_folder(
    folder: Path, *, is_ours: bool = True, shown: Path | None = None
) -> Iterator[None]:
    """
    Make a folder if need be and keep other processes out of it as long as the block lasts.

    Parameters
    ----------
    is_ours : bool
        False lets a rank in whose first one holds the folder.
    shown : Path, optional
        The output that an error names, where another folder is held for it.

    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f'output must be a folder, got the file {str(folder)!r}. Choose another.')
    folder.mkdir(parents=True, exist_ok=True)
    if not is_ours:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    _held.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f'output must be of one process, got {str(shown or folder)!r}, into which another '
                'is writing. Wait for it, or choose another.'
            ) from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def check_launcher(environment: Mapping[str, str]) -> None:
    """Refuse to be one of several tasks of SLURM or MPI that do not know their ranks."""
    if 'RANK' in environment:
        return
    for size in ('OMPI_COMM_WORLD_SIZE', 'PMI_SIZE', 'MPI_WORLD_SIZE'):
        if environment.get(size, '1') not in ('', '1'):
            raise ValueError(
                f'several processes must know their RANK, got {environment[size]} of mpirun '
                f'({size}) without it: each would do everything, all into one folder. Start them '
                'with torchrun --nproc-per-node N -m meta_ood_training.cli ...; or one alone.'
            )
    tasks = environment.get('SLURM_STEP_NUM_TASKS') or environment.get('SLURM_NTASKS') or '1'
    if 'SLURM_PROCID' not in environment or tasks in ('', '1'):
        return
    raise ValueError(
        f'several processes must know their RANK, got {tasks} tasks of SLURM (SLURM_NTASKS) '
        'without it: each would do everything, all into one folder. Start one task a node, which '
        'starts its ranks: srun --ntasks-per-node 1 torchrun --nproc-per-node N -m '
        'meta_ood_training.cli ...; or srun -n 1 for a single process.'
    )
