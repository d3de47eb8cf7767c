"""`fit-score`: a method, a bundle and labelled streets -> what it was fitted to, in a folder."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
import inspect
from pathlib import Path
import shutil
import time
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import load_bundle, save_bundle
from meta_ood_training.datasets import open_dataset, parse_dataset, SampleDataset
from meta_ood_training.datasets.registry import fits_classes
from meta_ood_training.evaluation.bench.fitting import FitFrames
from meta_ood_training.methods import METHODS, Observation, Observer, Setup
from meta_ood_training.methods.density.entries import SHARED
from meta_ood_training.methods.fitted_file import FittedFile, SUFFIX
from meta_ood_training.methods.served import fit_served, with_score
from meta_ood_training.output_places import hold_folder
from meta_ood_training.plain_arguments import as_tuple
from meta_ood_training.provenance.revision import machine, source_revision


@dataclass(frozen=True)
class FittedScore:
    """
    What was fitted.

    Attributes
    ----------
    files : tuple of Path
        One a method that it serves, for `evaluate --fitted`; or the folder of a bundle.
    frames : int
        That it was fitted on.

    """

    files: tuple[Path, ...]
    frames: int
    seconds: float


def fit_score(
    method: str,
    data: str | Sequence[str],
    *,
    output: str | Path,
    bundle: Bundle | str | Path | None = None,
    ood_data: str | Sequence[str] = (),
    limit: int = 100,
    work_short_side: int | None = None,
    device: str = 'auto',
    seed: int = 0,
    overwrite: bool = False,
    resume: bool = False,
    tell: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> FittedScore:
    """
    Fit a method on labelled in-distribution frames, and keep what was fitted.

    Parameters
    ----------
    method : str
        A method of METHODS that is fitted, or served.
    data : str or sequence of str
        '[TITLE:]NAME=PATH' of labelled streets; their OoD pixels are not used.
    output : str or Path
        Folder; `<method>.safetensors` is written into it, other methods in it stay. A method
        that the node serves gives a bundle instead: its score is the method's, its threshold
        lets 1 % of the in-distribution pixels pass, it has no meta classifiers.
    bundle : Bundle, str or Path, optional
        Whose network it is fitted for; the installed one where absent.
    ood_data : str or sequence of str
        Frames with OoD pixels, for a method that needs them.
    limit : int
        Frames of each set, evenly spread; 0 takes all.
    overwrite, resume : bool
        Replace what was fitted before; go on with a fit that was stopped.
    tell : callable
        Is told how far it is.
    **options
        Of the method: embeddings, layers, iterations, noise.

    Returns
    -------
    FittedScore

    """
    chosen = _find(method)
    if limit < 0:
        raise ValueError(f'--limit must be at least 0, got {limit}. 0 takes all frames.')
    known = inspect.signature(chosen.build).parameters
    _check_options(method, known, options, has_ood_data=bool(ood_data))
    folder, start = Path(output), time.perf_counter()
    files = [folder / f'{one}{SUFFIX}' for one in (method, *SHARED.get(method, ()))]
    there = [one.name for one in files if one.exists()]
    if there and not overwrite:
        raise ValueError(
            f'--output must not hold {", ".join(there)} yet, got {folder}. Choose another, or add '
            '--overwrite.'
        )
    if chosen.is_served and folder.exists() and any(folder.iterdir()) and not overwrite:
        raise ValueError(
            f'--output must be a new folder for the bundle that serves {method}, got {folder}. '
            'Choose another, or add --overwrite.'
        )
    model = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    observer = Observer.from_bundle(model, work_short_side=work_short_side, device=device)
    frames = FitFrames(observer, _open(as_tuple(data, str), model), limit=limit)
    if ood_data:
        options['ood'] = _walk_of(observer, _open(as_tuple(ood_data, str), model), limit)
    if chosen.is_served:
        tell(f'{method} of {model.model_id}: {len(frames)} frames')
        fitted = fit_served(chosen, Setup(model, observer.network, frames, seed=seed))
        save_bundle(with_score(model, fitted), folder)
        return FittedScore((folder,), len(frames), time.perf_counter() - start)
    with hold_folder(folder):
        checkpoints = folder / f'{method}.unfinished'
        if checkpoints.exists() and not resume:
            if not overwrite:
                raise ValueError(
                    f'--output holds a fit of {method} that was stopped, got {folder}. Add '
                    '--resume to go on with it, or --overwrite to start again.'
                )
            shutil.rmtree(checkpoints)
        if 'checkpoints' in known:
            checkpoints.mkdir(exist_ok=True)
            options |= {'checkpoints': checkpoints, 'tell': tell}
        tell(f'{method} of {model.model_id}: {len(frames)} frames')
        scorer = chosen.build(Setup(model, observer.network, frames, seed=seed), **options)
        seconds = time.perf_counter() - start
        facts = {
            'bundle': model.model_id,
            'data': list(as_tuple(data, str)),
            'ood_data': list(as_tuple(ood_data, str)),
            'frames': len(frames),
            'limit': limit,
            'seed': seed,
            'work_short_side': work_short_side,
            'options': {k: v for k, v in options.items() if isinstance(v, (int, float, tuple))},
            'seconds': round(seconds, 1),
            'revision': source_revision(),
            'machine': machine(),
        }
        for path in files:
            FittedFile(path.stem, model.network_sha256, scorer.state(), facts).save(path)
        shutil.rmtree(checkpoints, ignore_errors=True)
    return FittedScore(tuple(files), len(frames), seconds)


def _check_options(
    method: str, known: Collection[str], given: Collection[str], *, has_ood_data: bool
) -> None:
    for name in given:
        if name not in known:
            raise ValueError(f'--{name} is no option of {method}. Leave it out.')
    if has_ood_data and 'ood' not in known:
        raise ValueError(f'{method} uses no OoD data, got --ood-data. Leave it out.')


def _find(method: str) -> Any:
    fitted = [one.name for one in METHODS.values() if one.is_fitted or one.is_served]
    fitted.remove('entropy')
    if method not in fitted:
        why = 'which needs no fit' if method in METHODS else 'no such method'
        raise ValueError(f'method must be one of {", ".join(fitted)}, got {method!r}, {why}.')
    return METHODS[method]


def _open(data: Sequence[str], bundle: Bundle) -> list[SampleDataset]:
    opened = []
    for title, layout, path in map(parse_dataset, data):
        if not fits_classes(layout, bundle.class_names):
            raise ValueError(
                f'labels of {title} ({layout}) must name the classes of {bundle.model_id}, got '
                'those of Cityscapes. Give a folder with its own classes.'
            )
        opened.append(open_dataset(layout, path, num_classes=bundle.num_classes))
    return opened


def _walk_of(
    observer: Observer, datasets: Sequence[SampleDataset], limit: int
) -> Callable[[], Iterator[Observation]]:
    return FitFrames(observer, datasets, limit=limit)
