"""Bundles as they lie on a disk: which are there, what one says of itself, whether it works."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meta_ood_ros.core.backends import load_backend
from meta_ood_ros.core.backends.agreement import self_check, SelfCheck
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import find_bundle, installed_bundles, load_bundle
from meta_ood_ros.core.files.image_file import MAX_FILE_PIXELS
from meta_ood_ros.core.image import to_network_input, to_work_size
from meta_ood_ros.scenes import render_scene

#: Seed and size of the scene that a network is tried on.
_SEED, _SCENE_SIZE = 3, (360, 640)


@dataclass(frozen=True)
class Verification:
    """
    A bundle that was loaded, run once and found to agree with itself.

    Parameters
    ----------
    work_size : (int, int)
        Grid of the forward pass, in pixels.
    check : SelfCheck
        The backend against PyTorch in float32.

    """

    bundle: Bundle
    backend: str
    work_size: tuple[int, int]
    check: SelfCheck


def verify_bundle(
    path: str | Path,
    *,
    device: str = 'auto',
    backend: str = 'auto',
    precision: str = 'auto',
) -> Verification:
    """
    Check the sums of a bundle, load it and run one rendered scene through its network.

    Raises
    ------
    ValueError
        Whatever is wrong: BundleError of its files, BackendError of its answers.

    """
    bundle = load_bundle(path)
    network = bundle.build_network()
    ready = load_backend(backend, network, device=device, precision=precision)
    size = network.fixed_size or to_work_size(
        _SCENE_SIZE,
        short_side=bundle.work_short_side,
        stride=network.stride,
        max_pixels=MAX_FILE_PIXELS,
    )
    x = to_network_input(
        render_scene(_SEED, size=_SCENE_SIZE).image,
        size,
        mean=bundle.input_mean,
        std=bundle.input_std,
        device=ready.device,
    )
    return Verification(bundle, ready.name, size, self_check(ready, network, x))


def list_bundles() -> Iterator[tuple[str, str]]:
    """Yield the name of each installed bundle with what it is, or why it cannot be loaded."""
    for name, place in installed_bundles().items():
        try:
            bundle = load_bundle(place)
        except ValueError as error:
            yield name, str(error)
            continue
        size = sum(file.stat().st_size for file in place.iterdir())
        yield (
            name,
            (
                f'{bundle.model_id}  {bundle.architecture}  {bundle.num_classes} classes  '
                f'{size / 1e6:.1f} MB'
            ),
        )


def describe_bundle(path: str | Path) -> str:
    """Return classes, sizes, thresholds, provenance and scores of a bundle, a fact a line."""
    bundle, place = load_bundle(path), find_bundle(path)
    weights = sum(value.numel() for value in bundle.weights.values())
    files = ', '.join(
        f'{file.name} {file.stat().st_size / 1e6:.2f} MB' for file in sorted(place.iterdir())
    )
    thresholds = [f'{one.entropy_threshold:g}' for one in bundle.meta_classifiers]
    arguments = ', '.join(f'{key}={value}' for key, value in bundle.arguments.items())
    short_side = f'short side {bundle.work_short_side} px' if bundle.work_short_side else 'as sent'
    facts: dict[str, Any] = {
        'bundle': bundle.model_id,
        'files': files,
        'network': f'{bundle.architecture}({arguments})'
        + (f', {weights / 1e6:.2f} million weights' if weights else ''),
        'classes': f'{bundle.num_classes}: {", ".join(bundle.class_names)}',
        'work grid': short_side,
        'input mean, std': f'{_listed(bundle.input_mean)}; {_listed(bundle.input_std)}',
        'entropy threshold': f'{bundle.entropy_threshold:g}',
        'meta threshold': f'{bundle.meta_threshold:g}',
        'least segment': f'{bundle.min_size_px} px of the work grid',
        'meta classifiers': f'at entropy thresholds {", ".join(thresholds)}'
        if thresholds
        else 'none: every segment is accepted',
        'licence of weights': bundle.licence_of_weights or 'not stated',
        'data terms': bundle.data_terms or 'not stated',
    }
    width = max(map(len, facts)) + 1
    lines = [f'{key + ":":{width}} {value}' for key, value in facts.items()]
    lines.append('provenance:' if bundle.provenance else 'provenance: not stated')
    return '\n'.join([*lines, *_indent(bundle.provenance, '  ')])


def _listed(values: tuple[float, ...]) -> str:
    return ', '.join(f'{value:.4g}' for value in values)


def _indent(value: Mapping[str, Any], margin: str) -> Iterator[str]:
    """Yield a mapping as lines, what lies in it further to the right."""
    for key, one in value.items():
        if isinstance(one, Mapping):
            yield f'{margin}{key}:'
            yield from _indent(one, margin + '  ')
        elif isinstance(one, (list, tuple)) and any(isinstance(item, Mapping) for item in one):
            yield f'{margin}{key}: {len(one)} entries'
        else:
            shown = ', '.join(map(str, one)) if isinstance(one, (list, tuple)) else one
            yield f'{margin}{key}: {shown}'
