"""Model bundle <-> disk: one directory, written as a whole or not at all."""

from __future__ import annotations

from dataclasses import replace
import hashlib
from importlib.resources import files
import logging
from pathlib import Path
from typing import Any

from meta_ood_ros.core.bundle import Bundle, ONNX_ARCHITECTURE
from meta_ood_ros.core.error_text import brief, first_line
from meta_ood_ros.core.files.bounded_yaml import LARGEST_TEXT
from meta_ood_ros.core.files.bundle_checks import BundleError, check_weights
from meta_ood_ros.core.files.bundle_description import FIELDS, parse_description, write_description
from meta_ood_ros.core.files.bundle_sums import add_sums, check_sums, SUMS
from meta_ood_ros.core.files.meta_classifier_file import (
    pack_meta_classifiers,
    parse_meta_classifiers,
)
from meta_ood_ros.core.files.score_file import pack_score, parse_score
from meta_ood_ros.core.files.tensor_header import parse_tensors
from meta_ood_ros.core.files.whole_folders import recover_folder, replace_folder
from meta_ood_ros.core.meta_classifier import MetaClassifier
from safetensors.torch import save as save_tensors
from torch import Tensor

logger = logging.getLogger(__name__)

DESCRIPTION_FILE = 'bundle.yaml'
NETWORK_FILE = 'network.safetensors'
ONNX_FILE = 'network.onnx'
META_CLASSIFIER_FILE = 'meta_classifier.safetensors'
SCORE_FILE = 'score.safetensors'
FILES = (DESCRIPTION_FILE, NETWORK_FILE, ONNX_FILE, META_CLASSIFIER_FILE, SCORE_FILE)

#: Bytes that a file may have: what is larger is none of ours and would fill the memory.
_LARGEST = {
    DESCRIPTION_FILE: LARGEST_TEXT,
    NETWORK_FILE: 1 << 33,
    ONNX_FILE: (1 << 31) - 1,
    META_CLASSIFIER_FILE: 1 << 26,
    SCORE_FILE: 1 << 26,
}


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
    directory = Path(path or 'default').expanduser()
    if path:
        recover_folder(directory)
    if path and directory.is_dir():
        return directory
    return installed_bundles().get(str(directory), directory)


def load_bundle(path: Bundle | str | Path | None = None) -> Bundle:
    """
    Read a bundle.

    Parameters
    ----------
    path : str or Path, optional
        Its directory, or the name of an installed one; None is the installed default, with the
        19 classes of Cityscapes. A bundle that is one already is returned itself.

    Returns
    -------
    Bundle
        Weights in the type in which they were stored.

    Raises
    ------
    BundleError
        Nothing is there, or it is no bundle, or it is damaged, or its parts do not fit.

    """
    if isinstance(path, Bundle):
        return path
    if path is not None and not isinstance(path, (str, Path)):
        raise BundleError(
            f'bundle must be a directory or the name of an installed one, got a '
            f"{type(path).__name__}. Give its path, or '' for the default."
        )
    directory = find_bundle(path)
    if not directory.is_dir():
        raise BundleError(
            f'bundle must be a directory, got {str(directory)!r}, which does not exist. Give a '
            'directory made by meta-ood-train bundle, or the name of an installed one '
            f"({', '.join(installed_bundles())}), or '' for the default."
        )
    description_bytes = _read(directory, DESCRIPTION_FILE)
    description = parse_description(directory / DESCRIPTION_FILE, description_bytes)
    declared, sums = description.pop('classifier_thresholds'), description.pop(SUMS)
    onnx = description['architecture'] == ONNX_ARCHITECTURE
    network_file = ONNX_FILE if onnx else NETWORK_FILE
    contents = {network_file: _read(directory, network_file)}
    for name in (META_CLASSIFIER_FILE, SCORE_FILE):
        if (directory / name).exists():
            contents[name] = _read(directory, name)
    classifiers: tuple[MetaClassifier, ...] = ()
    if sums is not None:
        check_sums(directory, sums, contents)
    else:
        logger.warning(
            'Bundle %s states no SHA-256 of its files, so that damage may pass unseen. Save it '
            'again: save_bundle(load_bundle(path), path).',
            directory,
        )
    digest = hashlib.sha256(description_bytes)
    for content in contents.values():
        digest.update(content)
    fitted_score = None
    try:
        if META_CLASSIFIER_FILE in contents:
            classifiers = parse_meta_classifiers(
                contents[META_CLASSIFIER_FILE], directory / META_CLASSIFIER_FILE
            )
        if SCORE_FILE in contents:
            fitted_score = parse_score(contents[SCORE_FILE], directory / SCORE_FILE)
    except ValueError as error:
        raise BundleError(str(error)) from error
    _check_classifiers(directory, declared, [one.entropy_threshold for one in classifiers])
    network = contents[network_file]
    try:
        bundle = Bundle(
            **description,
            weights={} if onnx else _parse_weights(directory / NETWORK_FILE, network),
            onnx=network if onnx else b'',
            meta_classifiers=classifiers,
            fitted_score=fitted_score,
            digest=digest.hexdigest(),
        )
        check_weights(bundle.weights)
        bundle.check_classifiers()
    except BundleError as error:
        raise BundleError(f'bundle {str(directory)!r}: {error}') from error
    return bundle


def _parse_weights(where: Path, content: bytes) -> dict[str, Tensor]:
    try:
        return parse_tensors(content)
    except Exception as error:  # safetensors and torch have several unrelated types
        raise BundleError(
            f'{where} must be a safetensors file, got: {first_line(error)}. '
            'It is damaged: copy or make the bundle again.'
        ) from error


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
    recover_folder(target)
    if target.exists() and not (target / DESCRIPTION_FILE).exists():
        raise BundleError(
            f'output must be a new directory or a bundle to replace, got {str(target)!r}, which '
            f'has no {DESCRIPTION_FILE}. Choose another directory.'
        )
    check_weights(bundle.weights)
    bundle.check_classifiers()
    owned = tuple(
        replace(one, network_sha256=bundle.network_sha256) for one in bundle.meta_classifiers
    )
    fitted = bundle.fitted_score
    if fitted is not None:
        fitted = replace(fitted, network_sha256=bundle.network_sha256)
    bundle = replace(bundle, meta_classifiers=owned, fitted_score=fitted)
    contents = _pack(bundle)
    with replace_folder(target, ours=FILES) as made:
        for name, content in contents.items():
            (made / name).write_bytes(content)
        digest = load_bundle(made).digest  # proves that what stands there can be read
    return replace(bundle, digest=digest)


def _pack(bundle: Bundle) -> dict[str, bytes]:
    """Return the files of a bundle by name."""
    files: dict[str, bytes] = {}
    if bundle.architecture == ONNX_ARCHITECTURE:
        files[ONNX_FILE] = bundle.onnx
    else:
        tensors = {key: value.contiguous() for key, value in bundle.weights.items()}
        files[NETWORK_FILE] = save_tensors(tensors)
    if bundle.meta_classifiers:
        files[META_CLASSIFIER_FILE] = pack_meta_classifiers(bundle.meta_classifiers)
    if bundle.fitted_score is not None:
        files[SCORE_FILE] = pack_score(bundle.fitted_score)
    description = write_description(
        {name: getattr(bundle, name) for name in FIELDS},
        classifier_thresholds=[one.entropy_threshold for one in bundle.meta_classifiers],
    )
    return {DESCRIPTION_FILE: add_sums(description, files), **files}


def _check_classifiers(directory: Path, declared: Any, found: list[float]) -> None:
    """Refuse a copy that lost its meta classifiers, or was given those of another bundle."""
    if declared is None or declared == found:
        return
    raise BundleError(
        f'bundle {str(directory)!r} must have the meta classifiers that {DESCRIPTION_FILE} lists, '
        f'those of entropy thresholds {brief(declared)}, got {brief(found)} in '
        f'{META_CLASSIFIER_FILE}. Copy it again.'
    )


def _read(directory: Path, name: str) -> bytes:
    path, largest = directory / name, _LARGEST[name]
    try:
        if path.exists() and not path.is_file():
            raise BundleError(f'{path} must be a file, got something else. Copy the bundle again.')
        with path.open('rb') as stream:
            content = stream.read(min(largest, path.stat().st_size) + 1)
    except OSError as error:
        there = ', '.join(sorted(one.name for one in directory.iterdir())[:5]) or 'nothing'
        raise BundleError(
            f'bundle {str(directory)!r} must hold {name}, got {there} ({error.strerror}). '
            'Make the bundle again: meta-ood-train bundle'
        ) from error
    if len(content) > largest or path.stat().st_size > largest:
        raise BundleError(
            f'{path} must have at most {largest} bytes, got {path.stat().st_size}. Make the '
            'bundle again.'
        )
    return content
