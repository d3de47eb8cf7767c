"""Bundles and data sets that the command line names, by title, and what a report says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_training.datasets import open_dataset, SampleDataset
from meta_ood_training.evaluation.pixel_evaluation import is_of_part
from meta_ood_training.plain_arguments import as_tuple


def check_parts(parts: Sequence[str], datasets: Mapping[str, SampleDataset]) -> None:
    """Refuse a part that no image belongs to, before an hour of prediction."""
    for part in parts:
        if not any(
            is_of_part(name, getattr(dataset, 'tags', {}), part)
            for dataset in datasets.values()
            for name in dataset.names
        ):
            raise ValueError(
                f'--part must begin the name of an image or be a tag of a manifest, got {part!r}, '
                f'which no image of {", ".join(datasets)} has.'
            )


def load_bundles(given: Any) -> dict[str, Bundle]:
    """Return bundles by title; the installed one where none is given."""
    if not given:
        return {'default': load_bundle()}
    if isinstance(given, Mapping):
        return {title: load_bundle(one) for title, one in given.items()}
    bundles: dict[str, Bundle] = {}
    for one in as_tuple(given, lambda one: one):
        title, place = _name_bundle(one)
        if title in bundles:
            raise ValueError(
                f'bundles must have different titles, got {title!r} twice. '
                'Name them: --bundle TITLE=PATH.'
            )
        bundles[title] = load_bundle(place)
    return bundles


def _name_bundle(given: Any) -> tuple[str, Any]:
    if isinstance(given, Bundle):
        return given.name, given
    title, equals, path = str(given).partition('=')
    # runs/lr=0.1/bundle is a path
    is_named = bool(equals and title and path) and not Path(given).exists()
    return (title, path) if is_named else (Path(given).name, given)


def open_datasets(
    parsed: Sequence[tuple[str, str, Path]], num_classes: int
) -> dict[str, SampleDataset]:
    """Return data sets by title, of (title, layout, folder)."""
    datasets = {}
    for title, name, path in parsed:
        if title in datasets:
            raise ValueError(
                f'data sets must have different titles, got {title!r} twice. '
                f'Name them with TITLE:NAME=PATH.'
            )
        datasets[title] = open_dataset(name, path, num_classes=num_classes)
    return datasets


def describe_bundle(bundle: Bundle) -> dict[str, Any]:
    """Return what a report says about a bundle."""
    return {
        'model_id': bundle.model_id,
        'architecture': bundle.architecture,
        'work_short_side': bundle.work_short_side,
        'provenance': json.loads(json.dumps(dict(bundle.provenance), default=str)),
    }
