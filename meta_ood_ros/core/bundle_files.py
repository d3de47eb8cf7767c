"""Model bundle <-> disk: one directory, written as a whole or not at all."""

from __future__ import annotations

from dataclasses import replace
import hashlib
from importlib.resources import files
from pathlib import Path
import shutil
import tempfile
from typing import Any

from meta_ood_ros.core.bundle import Bundle, ONNX_ARCHITECTURE
from meta_ood_ros.core.bundle_description import (
    BundleError,
    FIELDS,
    parse_description,
    write_description,
)
from meta_ood_ros.core.meta_classifier import (
    load_meta_classifiers,
    MetaClassifier,
    save_meta_classifiers,
)
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

DESCRIPTION_FILE = 'bundle.yaml'
NETWORK_FILE = 'network.safetensors'
ONNX_FILE = 'network.onnx'
META_CLASSIFIER_FILE = 'meta_classifier.safetensors'


def installed_bundles() -> dict[str, Path]:
    """Return the directories of the bundles that are installed with the package, by name."""
    parent = Path(str(files('meta_ood_ros') / 'bundles'))
    return {one.parent.name: one.parent for one in sorted(parent.glob(f'*/{DESCRIPTION_FILE}'))}


def find_bundle(path: str | Path | None) -> Path:
    """
    Return the directory that names a bundle.

    Returns
    -------
    Path
        A directory in the working directory goes before an installed bundle of the same name.

    """
    directory = Path('default' if path is None else path).expanduser()
    if path is not None and directory.is_dir():
        return directory
    return installed_bundles().get(str(directory), directory)


def load_bundle(path: str | Path | None = None) -> Bundle:
    """
    Read a bundle.

    Parameters
    ----------
    path : str or Path, optional
        Its directory, or the name of an installed one; None is the installed default, with the
        19 classes of Cityscapes.

    Returns
    -------
    Bundle
        Weights in the type in which they were stored.

    Raises
    ------
    BundleError
        Nothing is there, or it is no bundle, or it is damaged, or its parts do not fit.

    """
    directory = find_bundle(path)
    if not directory.is_dir():
        raise BundleError(
            f'bundle must be a directory, got {str(directory)!r}, which does not exist. Give a '
            'directory made by meta-ood-train bundle, or the name of an installed one '
            f"({', '.join(installed_bundles())}), or '' for the default."
        )
    description_bytes = _read(directory, DESCRIPTION_FILE)
    description = parse_description(directory / DESCRIPTION_FILE, description_bytes)
    declared = description.pop('classifier_thresholds')
    onnx = description['architecture'] == ONNX_ARCHITECTURE
    network_bytes = _read(directory, ONNX_FILE if onnx else NETWORK_FILE)
    digest = hashlib.sha256(description_bytes + network_bytes)
    classifiers: tuple[MetaClassifier, ...] = ()
    if (directory / META_CLASSIFIER_FILE).exists():
        digest.update(_read(directory, META_CLASSIFIER_FILE))
        try:
            classifiers = load_meta_classifiers(directory / META_CLASSIFIER_FILE)
        except ValueError as error:
            raise BundleError(str(error)) from error
    _check_classifiers(directory, declared, [one.entropy_threshold for one in classifiers])
    try:
        weights = {} if onnx else load_tensors(network_bytes)
    except (SafetensorError, ValueError) as error:
        raise BundleError(
            f'{directory / NETWORK_FILE} must be a safetensors file, got: {error}. '
            'It is damaged: copy or make the bundle again.'
        ) from error
    return Bundle(
        **description,
        weights=weights,
        onnx=network_bytes if onnx else b'',
        meta_classifiers=classifiers,
        digest=digest.hexdigest(),
    )


def save_bundle(bundle: Bundle, path: str | Path) -> Bundle:
    """
    Write a bundle as a whole or not at all; a bundle already there is replaced at the end.

    Parameters
    ----------
    bundle : Bundle
        What to write.
    path : str or Path
        Its directory.

    Returns
    -------
    Bundle
        The same with the digest of the files written.

    """
    target = Path(path)
    if target.exists() and not (target / DESCRIPTION_FILE).exists():
        raise BundleError(
            f'output must be a new directory or a bundle to replace, got {str(target)!r}, which '
            f'has no {DESCRIPTION_FILE}. Choose another directory.'
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f'.{target.name}-') as parent:
        made = Path(parent) / 'new'
        made.mkdir()
        description = write_description(
            {name: getattr(bundle, name) for name in FIELDS},
            classifier_thresholds=[one.entropy_threshold for one in bundle.meta_classifiers],
        )
        (made / DESCRIPTION_FILE).write_text(description, encoding='utf-8')
        if bundle.architecture == ONNX_ARCHITECTURE:
            (made / ONNX_FILE).write_bytes(bundle.onnx)
        else:
            tensors = {key: value.contiguous() for key, value in bundle.weights.items()}
            (made / NETWORK_FILE).write_bytes(save_tensors(tensors))
        if bundle.meta_classifiers:
            save_meta_classifiers(made / META_CLASSIFIER_FILE, bundle.meta_classifiers)
        digest = load_bundle(made).digest  # proves that what stands there can be read
        if target.exists():
            target.rename(Path(parent) / 'old')
        shutil.move(made, target)
    return replace(bundle, digest=digest)


def _check_classifiers(directory: Path, declared: Any, found: list[float]) -> None:
    """Refuse a copy that lost its meta classifiers, or was given those of another bundle."""
    if declared is None or declared == found:
        return
    raise BundleError(
        f'bundle {str(directory)!r} must have the meta classifiers that {DESCRIPTION_FILE} lists, '
        f'those of entropy thresholds {declared}, got {found} in {META_CLASSIFIER_FILE}. '
        'Copy it again.'
    )


def _read(directory: Path, name: str) -> bytes:
    try:
        return (directory / name).read_bytes()
    except OSError as error:
        there = ', '.join(sorted(one.name for one in directory.iterdir())[:5]) or 'nothing'
        raise BundleError(
            f'bundle {str(directory)!r} must hold {name}, got {there} ({error.strerror}). '
            'Make the bundle again: meta-ood-train bundle'
        ) from error
