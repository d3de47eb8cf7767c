"""Options and folders of `fit-meta` -> refusals before hours of fitting, not behind them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_training.model_identity import hash_network
from meta_ood_training.segment_set import check_folders
from meta_ood_training.segment_table import read_sidecar, read_table
import numpy as np


def check_options(arguments: argparse.Namespace) -> None:
    """
    Refuse options that would do nothing, and values that no rule knows.

    Parameters
    ----------
    arguments : argparse.Namespace
        Of the verb.

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
        if getattr(arguments, option) and not getattr(arguments, needed):
            raise ValueError(
                f'--{option.replace("_", "-")} needs --{needed}, got none. Name its folder.'
            )
    largest = 1.0 if arguments.rule == 'max_missed' else np.inf
    if not 0.0 <= arguments.bound <= largest:
        meaning = (
            'a share of objects' if arguments.rule == 'max_missed' else 'false segments an image'
        )
        raise ValueError(
            f'--bound must be {meaning}, at least 0 and at most {largest:g}, got '
            f'{arguments.bound:g}.'
        )


def check_segments(arguments: argparse.Namespace, bundle: Bundle) -> dict[str, Any]:
    """
    Refuse segments that do not go together, or not with the bundle.

    Parameters
    ----------
    arguments : argparse.Namespace
        Of the verb.
    bundle : Bundle
        Whose classifier is to be fitted.

    Returns
    -------
    dict
        The sidecar of the segments to fit on, with the sources of all folders.

    Raises
    ------
    ValueError
        Says which folder, image or threshold.

    """
    sidecar = check_folders(arguments.segments)
    _check_same_network(bundle, sidecar)
    fitted = [*arguments.segments, *arguments.test]
    check_folders(fitted, same_network={sidecar['model_id'], bundle.model_id})
    if arguments.baseline:
        check_folders([*arguments.baseline, *arguments.baseline_test])
    if arguments.min_object_px:
        _check_same_grid(fitted)
    names = _frame_names(fitted)
    tested = _frame_names(arguments.test)
    for word in arguments.test_part:
        names_alone = [name.rpartition('/')[2] for name in tested]
        if not any(name.startswith(word) for name in names_alone):
            raise ValueError(
                f'--test-part must begin the name of a test image, got {word!r}; the first is '
                f'{names_alone[0]!r}.'
            )
    for image in arguments.explain:
        if not any(image in (name, _bare(name)) for name in names):
            raise ValueError(
                f'--explain needs the name of an image fitted on or of the test, got {image!r}; '
                f'the first is {names[0]!r}. Names stand in the column image of the table.'
            )
    wanted = arguments.entropy_threshold
    thresholds = arguments.threshold or sidecar['entropy_thresholds']
    if wanted is not None and not np.isclose(thresholds, wanted).any():
        raise ValueError(
            f'entropy threshold of the bundle must be one that a classifier was fitted at, got '
            f'{wanted}. Extract segments at it and leave it in --threshold.'
        )
    return sidecar


def name_repeated(arguments: argparse.Namespace) -> list[str]:
    """Return a note where test images have the names of images fitted on."""
    tested = _frame_names(arguments.test)
    repeated = set(tested) & set(_frame_names(arguments.segments))
    if not repeated:
        return []
    return [
        f'{len(repeated)} of {len(tested)} test images have the name of an image fitted on, such '
        f'as {min(repeated)}: unless they differ all the same, the test is none.'
    ]


def _check_same_network(bundle: Bundle, sidecar: dict[str, Any]) -> None:
    """Refuse segments of another network or grid: their metrics mean something else."""
    network = sidecar['network_sha256']
    same = hash_network(bundle) == network if network else sidecar['model_id'] == bundle.model_id
    if not same:
        raise ValueError(
            f'segments and bundle must come from one network, got segments of '
            f'{sidecar["model_id"]} and the bundle {bundle.model_id}. Pass the bundle that the '
            'segments were extracted with, or extract them again.'
        )
    for name in ('work_short_side', 'min_size_px'):
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


def _bare(name: str) -> str:
    return name.partition('/')[2] or name
