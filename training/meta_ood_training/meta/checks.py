"""Options and folders of `fit-meta` -> refusals before hours of fitting, not behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
import tempfile
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import DESCRIPTION_FILE
from meta_ood_training.datasets.image_names import begins_so, is_named
from meta_ood_training.meta.options import FitMetaOptions
from meta_ood_training.meta.test_checks import check_baseline, check_test_metrics
from meta_ood_training.segments.folders import check_folders
from meta_ood_training.segments.loading import (
    check_core_thresholds,
    check_split,
    check_thresholds,
)
from meta_ood_training.segments.table import read_sidecar, read_table
import numpy as np


def check_options(options: FitMetaOptions) -> None:
    """
    Refuse options that would do nothing, and values that no rule knows.

    Raises
    ------
    ValueError
        Says which option.

    """
    for option, needed in (
        ('baseline_test', 'test'),
        ('baseline_test', 'baseline'),
        ('test_part', 'test'),
    ):
        if getattr(options, option) and not getattr(options, needed):
            raise ValueError(
                f'--{option.replace("_", "-")} needs --{needed}, got none. Name its folder.'
            )
    for option, is_in_vain, other in (
        ('gap', options.group_by != 'group', f'--group-by {options.group_by}'),
        ('leave_one_out_network', options.only, '--only'),
    ):
        if getattr(options, option) not in (None, False) and is_in_vain:
            raise ValueError(
                f'--{option.replace("_", "-")} must not be given with {other}, got both: it '
                'would do nothing. Leave one of them out.'
            )
    for option, is_valid, meaning in (
        ('epochs', options.epochs >= 1, 'at least 1'),
        ('folds', options.folds >= 2, 'at least 2'),
        ('gap', options.gap is None or 0.0 <= options.gap <= 1.0, 'in [0, 1]'),
        ('max_segments', options.max_segments >= 1, 'at least 1'),
        ('min_object_px', options.min_object_px >= 0, 'at least 0'),
        ('seed', options.seed >= 0, 'at least 0'),
        ('strength', 0.0 < options.strength < np.inf, 'positive and finite'),
    ):
        if not is_valid:
            raise ValueError(
                f'--{option.replace("_", "-")} must be {meaning}, got '
                f'{getattr(options, option):g}. fit-meta --help names the default.'
            )
    for core in options.core_threshold:
        if not 0.0 <= core <= 1.0:
            raise ValueError(
                f'--core-threshold must be in [0, 1], got {core:g}. fit-meta --help names the '
                'default.'
            )
    for option, low, high in (('trees', 1, 1000), ('leaves', 2, 32)):
        numbers = getattr(options, option)
        if not numbers or not all(low <= one <= high for one in numbers):
            raise ValueError(
                f'--{option} must be numbers from {low} to {high}, got {list(numbers)}. '
                'fit-meta --help names the default.'
            )
    largest = 1.0 if options.rule == 'max_missed' else np.inf
    if not 0.0 <= options.bound <= largest:
        meaning = (
            'a share of objects' if options.rule == 'max_missed' else 'false segments an image'
        )
        raise ValueError(
            f'--bound must be {meaning}, at least 0 and at most {largest:g}, got '
            f'{options.bound:g}.'
        )


def wanted_thresholds(options: FitMetaOptions, sidecar: Mapping[str, Any]) -> list[float]:
    """Return the entropy thresholds to fit at, ascending, each once."""
    return sorted(set(options.thresholds or sidecar['entropy_thresholds']))


def check_segments(options: FitMetaOptions, bundle: Bundle) -> tuple[dict[str, Any], list[str]]:
    """
    Refuse segments that do not go together, or not with the bundle.

    Returns
    -------
    (dict, list of str)
        The sidecar of the segments to fit on, with the sources of all folders; and notes on what
        is odd, but no fault.

    Raises
    ------
    ValueError
        Says which folder, image or threshold.

    """
    sidecar = check_folders(options.segments)
    _check_same_network(bundle, sidecar)
    fitted = [*options.segments, *options.test]
    check_folders(fitted, same_network={sidecar['model_id'], bundle.model_id})
    thresholds = wanted_thresholds(options, sidecar)
    # any of them may be chosen
    check_thresholds(fitted, thresholds)
    if len(set(options.core_threshold)) > 1:  # one alone can be written without being counted
        above = [one for one in options.core_threshold if one > thresholds[0]]
        check_core_thresholds(options.segments, above)
    if options.min_object_px:
        _check_same_grid([*fitted, *options.baseline, *options.baseline_test])
    if options.baseline:
        check_baseline(options, sidecar)
    for folders in (options.segments, options.baseline):
        if folders and options.split is not None:
            check_split(read_table(folders, 'frames', columns=['split']), options.split)
    if options.test and not options.drop_incomplete:
        check_test_metrics(options.test, thresholds)
    fit_names, test_names = _frame_names(options.segments), _frame_names(options.test)
    for word in options.test_part:
        if not any(begins_so(name, word) for name in test_names):
            raise ValueError(
                f'--test-part must begin the name of a test image, got {word!r}; the first is '
                f'{test_names[0]!r}, in which folders do not count.'
            )
    for image in options.explain:
        if not any(is_named(name, image) for name in (*fit_names, *test_names)):
            raise ValueError(
                f'--explain needs the name of an image fitted on or of the test, got {image!r}; '
                f'the first is {fit_names[0]!r}. Names stand in the column image of the table.'
            )
    wanted = options.entropy_threshold
    if wanted is not None and not np.isclose(thresholds, wanted).any():
        raise ValueError(
            f'entropy threshold of the bundle must be one that a classifier was fitted at, got '
            f'{wanted}. Extract segments at it and leave it in --threshold.'
        )
    return sidecar, _note_repeated(fit_names, test_names)


def check_outputs(options: FitMetaOptions) -> None:
    """
    Refuse places that nothing could be written to in the end.

    Raises
    ------
    ValueError
        The report or the bundle cannot be written there.

    """
    bundle = options.output
    if bundle is not None and bundle.exists() and not (bundle / DESCRIPTION_FILE).exists():
        raise ValueError(
            f'--output must be a new directory or a bundle to replace, got {bundle}, which has no '
            f'{DESCRIPTION_FILE}. Choose another directory.'
        )
    places = {'--report': options.report}
    if bundle is not None:
        places['--output'] = bundle.parent
    for option, folder in places.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise ValueError(
                f'{option} must be where a folder can be written, got {folder}: {error}. Choose '
                'another place.'
            ) from error


def _note_repeated(fit_names: Sequence[str], test_names: Sequence[str]) -> list[str]:
    repeated = set(test_names) & set(fit_names)
    if not repeated:
        return []
    return [
        f'{len(repeated)} of {len(test_names)} test images have the name of an image fitted on, '
        f'such as {min(repeated)}: unless they differ all the same, the test is none.'
    ]


def _check_same_network(bundle: Bundle, sidecar: dict[str, Any]) -> None:
    """Refuse segments of another network or grid: their metrics mean something else."""
    network = sidecar['network_sha256']
    same = bundle.network_sha256 == network if network else sidecar['model_id'] == bundle.model_id
    if not same:
        raise ValueError(
            f'segments and bundle must come from one network, got segments of '
            f'{sidecar["model_id"]} and the bundle {bundle.model_id}. Pass the bundle that the '
            'segments were extracted with, or extract them again.'
        )
    for name in ('work_short_side', 'min_size_px', 'score'):
        if sidecar[name] != getattr(bundle, name):
            raise ValueError(
                f'segments and bundle must share {name}, got {sidecar[name]} in the segments and '
                f'{getattr(bundle, name)} in the bundle. Pass the bundle that the segments were '
                'extracted with, or extract them again.'
            )


def _check_same_grid(folders: Sequence[Path]) -> None:
    grids = {folder: read_sidecar(folder).get('pixel_grid', 'work') for folder in folders}
    if len(set(grids.values())) > 1:
        described = ', '.join(f'{folder}: {grid}' for folder, grid in grids.items())
        raise ValueError(
            '--min-object-px needs objects counted on one grid, got those of recorded segments on '
            f'the received images beside others on the work grid ({described}). Leave it out.'
        )


def _frame_names(folders: Sequence[Path]) -> list[str]:
    if not folders:
        return []
    return read_table(folders, 'frames', columns=['image'])['image'].to_pylist()
