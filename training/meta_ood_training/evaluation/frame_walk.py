"""
Frames of a data set -> counts: damaged frames are skipped by name, an interrupted walk goes on.

What was counted so far is kept as a whole file beside the results, every KEEP_EVERY_S seconds:
after an interruption or a kill the frames since then are done again, and none counts twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
import hashlib
import io
import json
from pathlib import Path
import time
from typing import Any, Protocol, TypeVar
import zipfile

from meta_ood_ros.core.files.whole_files import write_whole
from meta_ood_training.datasets import Sample, SampleDataset
from meta_ood_training.evaluation.sharing import Ranks
from meta_ood_training.scores import COUNTS_LAYOUT
import numpy as np

KEEP_EVERY_S = 20.0
"""Seconds between two files; as many times more as a file takes seconds: a twentieth at most."""

UNFINISHED = 'unfinished'
"""Folder below the output in which counts are kept until the report is written."""

SOME_SKIPPED = 3
"""Exit status when some frames could not be read."""

_DONE, _FACTS, _NAMES, _REASONS = '.done', '.facts', '.skipped', '.reasons'


class Counts(Protocol):
    """Sums over frames; what `add_arrays` adds in the order of the frames gives the same."""

    def count(self, index: int, sample: Sample) -> None:
        """Count one frame."""

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the counts as arrays by name."""

    def add_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Add what `to_arrays` returned."""


CountsT = TypeVar('CountsT', bound=Counts)


@dataclass(frozen=True)
class Kept:
    """
    Where the counts of an unfinished walk are kept.

    Parameters
    ----------
    path : Path
        Without rank and suffix.
    facts : str
        All that the counts depend on: a file of other facts is not gone on with.
    resume : bool
        Go on with what is there; otherwise begin anew.

    """

    path: Path
    facts: str
    resume: bool

    def of(self, ranks: Ranks) -> Path:
        """Return the file of this rank."""
        return self.path.with_name(f'{self.path.name}.{ranks.rank}of{ranks.count}.npz')

    def beside(self, ranks: Ranks) -> Path:
        """Return a folder for what this rank alone needs again, of these facts and no others."""
        digest = hashlib.sha256(self.facts.encode()).hexdigest()[:12]
        return self.of(ranks).with_suffix(f'.{digest}')


def keep_in(
    folder: Path | None, title: str, facts: Mapping[str, Any], *, resume: bool
) -> Kept | None:
    """Return where to keep the counts of a walk below an output folder, None without one."""
    if folder is None:
        return None
    digest = hashlib.sha256(title.encode()).hexdigest()[:12]
    facts = {**facts, 'bins': COUNTS_LAYOUT}
    return Kept(folder / UNFINISHED / digest, json.dumps(facts), resume)


def check_resumable(folder: Path, *, resume: bool) -> None:
    """Refuse to go on in a folder that holds something else than an interrupted evaluation."""
    if not resume or not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / UNFINISHED).is_dir():
        raise ValueError(
            f'--resume needs {folder / UNFINISHED} of an interrupted evaluation, got none: it is '
            'finished, or not of evaluate. Choose another --output.'
        )


def walk_frames(
    dataset: SampleDataset,
    indices: Sequence[int],
    make: Callable[[], CountsT],
    *,
    title: str,
    ranks: Ranks | None = None,
    kept: Kept | None = None,
    progress: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> tuple[CountsT, dict[str, str]]:
    """
    Count the frames, shared out over the ranks.

    Parameters
    ----------
    make : callable
        Returns counts of nothing.
    title : str
        Of the data in an error.
    progress : callable
        The frames of this rank that are left -> the same, with a bar.

    Returns
    -------
    counts : Counts
        Of all frames, on every rank.
    skipped : dict of str to str
        Frames that could not be read, and why. More than half of all are an error.

    """
    ranks = ranks or Ranks()
    own = ranks.share(indices)
    counts, skipped, done = make(), dict[str, str](), 0
    if kept and kept.resume and kept.of(ranks).is_file():
        skipped, done = _load(kept.of(ranks), kept.facts, counts)
    written, saved, cost = time.monotonic(), done, 0.0
    for index in progress(own[done:]):
        try:
            sample = dataset[index]
        except (OSError, ValueError) as error:
            skipped[dataset.names[index]] = str(error)
        else:
            counts.count(index, sample)
        done += 1
        begun = time.monotonic()
        if kept and begun - written >= KEEP_EVERY_S * max(1.0, cost):
            _save(kept.of(ranks), kept.facts, counts, skipped, done)
            written, saved = time.monotonic(), done
            cost = written - begun
    if kept and done > saved:
        _save(kept.of(ranks), kept.facts, counts, skipped, done)
    if ranks.count > 1:
        everything = ranks.gather((counts.to_arrays(), skipped))
        counts, skipped = make(), {}
        for arrays, left_out in everything:
            counts.add_arrays(arrays)
            skipped |= left_out
    check_mostly_read(skipped, len(indices), title)
    return counts, skipped


def check_mostly_read(skipped: Mapping[str, str], frames: int, title: str) -> None:
    """Refuse scores of data of which less than half was read."""
    if 2 * len(skipped) > frames:
        name, reason = next(iter(skipped.items()))
        raise ValueError(
            f'{title} must be readable but for a few frames, got {len(skipped)} of {frames} that '
            f'are not. The first is {name}: {reason}'
        )


def _save(path: Path, facts: str, counts: Counts, skipped: Mapping[str, str], done: int) -> None:
    content = io.BytesIO()
    arrays: dict[str, Any] = {
        _DONE: np.array(done),
        _FACTS: np.array(facts),
        _NAMES: np.array(list(skipped), np.str_),
        _REASONS: np.array(list(skipped.values()), np.str_),
        **counts.to_arrays(),
    }
    np.savez_compressed(content, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content.getvalue())


def _load(path: Path, facts: str, counts: Counts) -> tuple[dict[str, str], int]:
    """Add what an interrupted walk counted; return what it skipped and how many were done."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        earlier, done = str(arrays.pop(_FACTS)), int(arrays.pop(_DONE))
        names, reasons = (arrays.pop(key).tolist() for key in (_NAMES, _REASONS))
        if earlier == facts:
            counts.add_arrays(arrays)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f'--resume needs the counts that were kept in {path}, got something else ({error}). '
            'Remove it: its frames are then counted again.'
        ) from error
    if earlier != facts:
        raise ValueError(
            f'--resume must go on as the run was begun, with {earlier}, got {facts}. Repeat its '
            'options, or choose another --output.'
        )
    return dict(zip(names, reasons, strict=True)), done
