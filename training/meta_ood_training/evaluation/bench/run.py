"""`evaluate --methods`: bundles, data, names of methods -> one table sorted by AP, and figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.networks import OodNetwork
from meta_ood_training.datasets import open_dataset, parse_dataset
from meta_ood_training.datasets.registry import fits_classes
from meta_ood_training.evaluation.bench.collected import Collected
from meta_ood_training.evaluation.bench.fitting import check_apart, find_artefacts, prepare
from meta_ood_training.evaluation.bench.ranking import Row
from meta_ood_training.evaluation.frame_walk import check_resumable, keep_in
from meta_ood_training.evaluation.opening import (
    check_parts,
    describe_bundle,
    load_bundles,
    open_datasets,
)
from meta_ood_training.evaluation.sharing import join_ranks, own_device
from meta_ood_training.methods import find_methods, METHODS, Observer
from meta_ood_training.plain_arguments import as_tuple, check_choice
from meta_ood_training.provenance.revision import machine, source_revision
from meta_ood_training.scores import SIZE_RULES

#: Frames to fit on, evenly spread over each set, unless told.
FIT_LIMIT = 100


@dataclass(frozen=True, repr=False)
class MethodsEvaluation:
    """
    Every method on the same frames; its repr is the table.

    Attributes
    ----------
    ranked : dict of str to list of Row
        Data (set, or 'set, part') -> rows, the highest AP first.
    missing : dict of str to dict of str to str
        Bundle -> method that did not run -> why.
    table : str
        All of it in Markdown, and the papers' tables apart.
    output : Path or None
        Folder of methods.json, methods.md and the figures.
    skipped : dict of str to dict of str to str
        Title of the data -> image that could not be read -> why.

    """

    ranked: dict[str, list[Row]]
    missing: dict[str, dict[str, str]]
    table: str
    output: Path | None
    skipped: dict[str, dict[str, str]]

    def __repr__(self) -> str:
        """Return the table."""
        return self.table


def list_methods() -> str:
    """Return what every method is, as a Markdown table."""
    lines = [
        '| method | what it is | paper | fitted on streets? | retraining? | OoD data? | node? |',
        '|---|---|---|---|---|---|---|',
    ]
    for one in METHODS.values():
        flags = (one.is_fitted, one.retrains, one.uses_ood_data, one.is_served)
        words = ' | '.join('yes' if flag else 'no' for flag in flags)
        lines.append(f'| {one.name} | {one.summary} | {one.paper} | {words} |')
    return '\n'.join(lines)


def evaluate_methods(
    datasets: str | Sequence[str],
    *,
    methods: str | Sequence[str] = 'all',
    bundles: Any = None,
    fit_data: str | Sequence[str] = (),
    fit_limit: int = FIT_LIMIT,
    fitted: str | Path | None = None,
    artefacts: Sequence[str] = (),
    parts: str | Sequence[str] = (),
    output: str | Path | None = None,
    work_short_side: int | None = None,
    work_size: tuple[int, int] | None = None,
    limit: int | None = None,
    gallery: int = 0,
    misclassification: bool = False,
    components: str = '',
    draws: int = 1000,
    seed: int = 0,
    device: str = 'auto',
    resume: bool = False,
    with_published: bool = True,
    progress: bool = False,
) -> MethodsEvaluation:
    """
    Score pixels by many methods on the same frames, and rank them by AP.

    Parameters
    ----------
    datasets : str or sequence of str
        '[TITLE:]NAME=PATH', as in `evaluate`.
    methods : str or sequence of str
        Names of METHODS, or 'all'.
    bundles : as in `evaluate`
        Networks whose logits and features the methods look at.
    fit_data : str or sequence of str
        Labelled in-distribution frames, in the same form, for methods that are fitted.
    fit_limit : int
        Frames of each of them, evenly spread; 0 takes all.
    fitted : str or Path, optional
        Folder of methods that were fitted before.
    artefacts : sequence of str
        'METHOD=PATH' of what was trained for a method.
    parts, output, work_short_side, work_size, limit, draws, seed, device, resume, progress
        As in `evaluate`; the networks run in PyTorch, float32.
    gallery : int
        Best and worst frames to draw of each method.
    misclassification : bool
        Whether methods are judged by the wrong classes that they find, too.
    components : str
        Rule of SIZE_RULES by which objects count in a second pass; none where empty.
    with_published : bool
        Whether the papers' own tables stand below.

    Returns
    -------
    MethodsEvaluation

    Raises
    ------
    ValueError
        An argument is wrong, or no method could run.

    """
    parts = as_tuple(parts, str)
    chosen = find_methods(as_tuple(methods, str))
    if limit is not None and limit < 0:
        raise ValueError(f'--limit must be at least 0, got {limit}. 0 takes all images.')
    if fit_limit < 0:
        raise ValueError(f'--fit-limit must be at least 0, got {fit_limit}. 0 takes all images.')
    places = find_artefacts(
        None if fitted is None else Path(fitted), as_tuple(artefacts, str), list(METHODS)
    )
    loaded = load_bundles(bundles)
    if components:
        check_choice('--components', components, tuple(SIZE_RULES))
    parsed = [parse_dataset(text) for text in as_tuple(datasets, str)]
    opened = open_datasets(parsed, max(one.num_classes for one in loaded.values()))
    check_parts(parts, opened)
    to_fit = [parse_dataset(text) for text in as_tuple(fit_data, str)]
    run = Collected(chosen, loaded, parts=parts, draws=draws, seed=seed, progress=progress)
    run.misclassification, run.components = misclassification, components
    folder = None if output is None else Path(output)
    with join_ranks() as ranks:
        if folder:
            check_resumable(folder, resume=resume)
            folder.mkdir(parents=True, exist_ok=True)  # before an hour of prediction
        for title, bundle in loaded.items():
            fit_sets = {
                one: (path, open_dataset(layout, path, num_classes=bundle.num_classes))
                for one, layout, path in to_fit
            }
            layouts = {one: (path, opened[one]) for one, _, path in parsed}
            check_apart(fit_sets, layouts)
            views, missing = prepare(
                bundle,
                chosen,
                partial(
                    _observe,
                    bundle,
                    work_short_side=work_short_side,
                    work_size=work_size,
                    device=own_device(device),
                ),
                fit_data=[one for _, one in fit_sets.values()],
                fit_limit=fit_limit,
                artefacts=places,
                seed=seed,
                say=partial(print, 'preparing', flush=True) if progress else lambda _: None,
            )
            run.missing[title] = missing
            used = [view for view in views if view.scorers]
            if not used:
                continue
            for data, layout, path in parsed:
                dataset = opened[data]
                facts = {
                    'bundle': bundle.model_id,
                    'data': str(path),
                    'limit': limit,
                    'methods': [name for view in used for name in view.scorers],
                    'fit_data': list(as_tuple(fit_data, str)),
                    'fit_limit': fit_limit,
                    'artefacts': {name: str(one) for name, one in places.items()},
                    'parts': list(parts),
                    'work_short_side': work_short_side,
                    'work_size': work_size,
                    'seed': seed,
                    'misclassification': misclassification,
                }
                counts = run.walk(
                    title,
                    data,
                    dataset,
                    used,
                    range(min(limit, len(dataset)) if limit else len(dataset)),
                    names_classes=fits_classes(layout, bundle.class_names),
                    ranks=ranks,
                    keep=partial(keep_in, folder, facts=facts, resume=resume),
                )
                if folder and gallery and not ranks.rank:
                    run.draw(title, data, dataset, used, counts, count=gallery)
    if not any(run.results.values()):
        reasons = [f'{name}: {one}' for by in run.missing.values() for name, one in by.items()]
        raise ValueError(f'no method could run. {" ".join(reasons)}')
    table = run.table(with_published=with_published)
    if folder and not ranks.rank:
        report = {
            'bundles': {title: describe_bundle(one) for title, one in loaded.items()},
            'datasets': dict(zip(opened, as_tuple(datasets, str), strict=True)),
            'fit_data': list(as_tuple(fit_data, str)),
            'fit_limit': fit_limit,
            'artefacts': {name: str(path) for name, path in places.items()},
            'work_short_side': work_short_side,
            'work_size': work_size,
            'limit': limit,
            'draws': draws,
            'seed': seed,
            'device': device,
            'components': components,
            'revision': source_revision(),
            'machine': machine(),
            'processes': ranks.count,
        }
        run.write(folder, report, table)
    return MethodsEvaluation(run.ranked(), run.missing, table, folder, run.skipped)


def _observe(bundle: Bundle, network: OodNetwork | None, **options: Any) -> Observer:
    return Observer.from_bundle(bundle, network=network, **options)
