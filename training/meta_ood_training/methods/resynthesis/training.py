"""`train_resynthesis`: labelled street frames -> generator, discrepancy networks, ensemble."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
import time
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_training.datasets import open_dataset, parse_dataset, SampleDataset
from meta_ood_training.datasets.registry import fits_classes
from meta_ood_training.methods.resynthesis.settings import ResynthesisSettings
from meta_ood_training.methods.resynthesis.trained_files import (
    DESCRIPTION_FILE,
    save_trained,
    STATE_FILE,
)
from meta_ood_training.methods.resynthesis.trained_parts import (
    EXAMPLES_FILE,
    GENERATOR_POINT,
    PAIR_POINT,
    TrainedParts,
)
from meta_ood_training.output_places import check_free, hold_folder
from meta_ood_training.plain_arguments import as_tuple
from meta_ood_training.provenance.revision import machine, source_revision


@dataclass(frozen=True, repr=False)
class ResynthesisResult:
    """
    What was trained.

    Attributes
    ----------
    folder : Path
        resynthesis.safetensors, resynthesis.json and examples.jpg.
    report : dict
        What resynthesis.json says: losses, AP on swapped selection frames, ensemble weights,
        settings, data, machine.
    minutes : float
        How long this process trained.

    """

    folder: Path
    report: dict[str, Any]
    minutes: float

    def __repr__(self) -> str:
        """Return the scores and the folder in a line."""
        scores = self.report['swapped_ap'].items()
        found = ', '.join(f'{name} {value:.3f}' for name, value in scores)
        return (
            f'ResynthesisResult(AP on swapped frames: {found}; {self.minutes:.1f} min, '
            f'in {self.folder})'
        )


def train_resynthesis(
    data: str | Sequence[str],
    select: str | Sequence[str],
    output: str | Path,
    *,
    bundle: Bundle | str | Path | None = None,
    void_data: str | Sequence[str] = (),
    settings: ResynthesisSettings | None = None,
    device: str = 'auto',
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = False,
    command: str = '',
) -> ResynthesisResult:
    """
    Train what the scores `resynthesis` and `synboost` need, for one bundle's network.

    Parameters
    ----------
    data : str or sequence of str
        Labelled street frames to train on, '[TITLE:]NAME=PATH': 'camvid_fit=data/camvid'.
    select : str or sequence of str
        Others on which the weights of the ensemble are searched.
    output : str or Path
        The run folder; it must not hold a run yet, unless this one goes on with it.
    bundle : Bundle, str or Path, optional
        Whose network is frozen beside them; the installed default where absent.
    void_data : str or sequence of str
        Titles of `data` and `select` whose void pixels stand for the unknown in the
        dissimilarity network and the ensemble, as in SynBoost.
    settings : ResynthesisSettings, optional
        Sizes, steps, seed.
    device : str
        'cpu', 'cuda', 'cuda:N' or 'auto'.
    resume : bool
        Goes on with the killed run in `output`.
    overwrite : bool
        Replaces what is there.
    progress : bool
        Whether a bar is shown.
    command : str
        What the files state as the command that made them.

    Returns
    -------
    ResynthesisResult
        Folder, report and time.

    Raises
    ------
    ValueError
        Data, bundle, settings or the folder are wrong.
    OSError
        Something is not there.

    """
    start, folder = time.monotonic(), Path(output)
    settings = settings or ResynthesisSettings()
    _check_place(folder, resume=resume, overwrite=overwrite)
    loaded = load_bundle(bundle)
    fit, chosen = (_open(one, loaded) for one in (data, select))
    voids = as_tuple(void_data, str)
    for title in voids:
        if title not in fit and title not in chosen:
            raise ValueError(
                f'--void must be the title of a data set, got {title!r}. Known: '
                f'{", ".join(dict.fromkeys((*fit, *chosen)))}.'
            )
    with hold_folder(folder):
        if not resume:
            for name in (DESCRIPTION_FILE, STATE_FILE, GENERATOR_POINT, PAIR_POINT, EXAMPLES_FILE):
                (folder / name).unlink(missing_ok=True)
        run = TrainedParts(loaded, settings, fit, chosen, voids, device)
        report = run.train(folder, resume=resume, progress=progress)
        minutes = (time.monotonic() - start) / 60
        report |= {
            'data': [_without_place(one) for one in as_tuple(data, str)],
            'select': [_without_place(one) for one in as_tuple(select, str)],
            'void_data': list(voids),
            'command': command or 'meta_ood_training.train_resynthesis',
            'revision': source_revision(),
            'machine': machine(),
            'minutes_of_last_process': minutes,
        }
        save_trained(folder, run.state(), report)
        for name in (GENERATOR_POINT, PAIR_POINT):
            (folder / name).unlink(missing_ok=True)
    return ResynthesisResult(folder, report, minutes)


def _open(given: str | Sequence[str], bundle: Bundle) -> dict[str, SampleDataset]:
    """Return data sets by title, whose labels mean the classes of the network."""
    opened: dict[str, SampleDataset] = {}
    for title, name, path in map(parse_dataset, as_tuple(given, str)):
        if title in opened:
            raise ValueError(
                f'data sets must have different titles, got {title!r} twice. Name them with '
                'TITLE:NAME=PATH.'
            )
        if not fits_classes(name, bundle.class_names):
            raise ValueError(
                f'labels of {name} must mean the classes of {bundle.model_id}, got Cityscapes '
                'train ids. Take a folder with the classes of the network.'
            )
        opened[title] = open_dataset(
            name, path, num_classes=bundle.num_classes, class_names=bundle.class_names
        )
    if not any(len(one) for one in opened.values()):
        raise ValueError('resynthesis needs labelled street frames, got none. Give --data.')
    return opened


def _check_place(folder: Path, *, resume: bool, overwrite: bool) -> None:
    if not resume:
        check_free(folder, overwrite=overwrite)
        return
    if (folder / DESCRIPTION_FILE).exists():
        raise ValueError(f'--resume goes on with a killed run, got {folder}, which is finished.')
    if not (folder / GENERATOR_POINT).exists():
        raise ValueError(
            f'--resume goes on with a killed run, got {folder}, which has none. Leave it out.'
        )


def _without_place(text: str) -> str:
    title, name, _ = parse_dataset(text)
    return name if title == name else f'{title}:{name}'
