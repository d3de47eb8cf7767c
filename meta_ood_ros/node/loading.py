"""What the parameters name -> what the node works with: bundle, pipeline, ignore masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
import math
from pathlib import Path

import cv2
from meta_ood_ros.core.backends import (
    Backend,
    BackendDeviceError,
    BackendError,
    choose_backend,
    resolve_device,
    self_check,
)
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import installed_bundles, load_bundle
from meta_ood_ros.core.error_text import first_line
from meta_ood_ros.core.files.image_file import read_image_file
from meta_ood_ros.core.image import to_network_input
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.settings import FROM_BUNDLE, NodeSettings
from meta_ood_ros.node.batching import batch_sizes
import numpy as np
import torch

_PACKAGE_SCHEME = 'package://'

#: Size of the image that is tried while configuring; most cameras have this aspect or 16:9.
#: Where the work grid is larger, so is the image: cameras are not enlarged without limit.
TRIAL_SIZE = (480, 640)
#: The other usual shape: an engine of fixed sizes is built for both.
WIDE_SIZE = (1080, 1920)

# What the libraries chose before any parameter did.
_TORCH_THREADS, _CV2_THREADS = torch.get_num_threads(), cv2.getNumThreads()


def resolve_path(text: str, *, parameter: str) -> Path | None:
    """
    Return the path that a parameter names.

    Raises
    ------
    ValueError
        A relative path (a node started by launch has no folder of its own), or a package that is
        not there.

    """
    if not text:
        return None
    if text.startswith(_PACKAGE_SCHEME):
        package, _, rest = text[len(_PACKAGE_SCHEME) :].partition('/')
        return _share_directory(package, parameter) / rest
    path = Path(text).expanduser()
    if not path.is_absolute():
        raise ValueError(
            f'{parameter} must be absolute, ~/... or package://<package>/..., got {text!r}. '
            f'Write the whole path, as in {str(Path.cwd() / text)!r}.'
        )
    return path


def _share_directory(package: str, parameter: str) -> Path:
    try:
        from ament_index_python.packages import get_package_share_directory

        return Path(get_package_share_directory(package))
    # Unset AMENT_PREFIX_PATH raises OSError, an unknown package LookupError, a malformed name
    # ValueError, and without ROS there is no index at all.
    except (ImportError, LookupError, OSError, ValueError) as error:
        raise ValueError(
            f'{parameter} must name a package that is installed, got {package!r}: {error}. '
            'Source its workspace, or give an absolute path.'
        ) from error


def load_ignore_mask(text: str) -> np.ndarray | None:
    """
    Read the mask of one camera.

    Returns
    -------
    ndarray of shape (h, w), bool, or None
        True where the PNG is 0: those pixels are never OoD.

    Raises
    ------
    ValueError
        It cannot be read.

    """
    path = resolve_path(text, parameter='ignore_mask')
    if path is None:
        return None
    # Depth as it is: 16 bits cut to 8 would make black of what is not.
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH
    try:
        picture = read_image_file(path, flags=flags)
    except OSError as error:
        raise ValueError(
            f'ignore_mask must be a PNG file, got {str(path)!r}: {error.strerror}. '
            "Correct the path, or set it to ''."
        ) from error
    except ValueError as error:
        raise ValueError(
            f'ignore_mask must be a PNG file, got {str(path)!r}, which is no picture ({error}). '
            'Draw it again: black where the camera sees its own hull or the sky.'
        ) from error
    return picture == 0


@dataclass(frozen=True, eq=False)
class LoadedPipeline:
    """A pipeline that has processed a frame."""

    pipeline: OodPipeline
    batch_sizes: tuple[int, ...]
    work_size: tuple[int, int]
    warnings: tuple[str, ...]


def load_pipeline(settings: NodeSettings) -> LoadedPipeline:
    """
    Return the pipeline that the settings ask for.

    Raises
    ------
    ValueError
        Bundle, device, backend or precision cannot be had; one sentence says which and why.
    RuntimeError
        The libraries of the device that `settings` name failed.

    """
    cache = resolve_path(settings.engine_cache, parameter='engine_cache')
    settings = replace(settings, engine_cache='' if cache is None else str(cache))
    warnings = []
    torch.set_num_threads(settings.cpu_threads or _TORCH_THREADS)
    cv2.setNumThreads(settings.cpu_threads or _CV2_THREADS)
    place = resolve_device(settings.device)
    if place.is_fallback:
        warnings.append(
            'device auto found no GPU: the network runs on the CPU, which is slow. '
            'Set device to cpu if that is meant, else install a PyTorch with CUDA.'
        )
    bundle = load_bundle(_find_bundle(settings.bundle))
    try:
        loaded = _make_pipeline(bundle, settings, str(place.device))
    # RuntimeError of CUDA: too old a GPU, too little memory, a broken driver
    except (RuntimeError, BackendDeviceError) as error:
        if settings.device != 'auto' or place.device.type == 'cpu':
            raise
        loaded = _make_pipeline_on_cpu(bundle, settings, error)
    short_side = settings.work_short_side
    if short_side not in (FROM_BUNDLE, bundle.work_short_side) and bundle.meta_classifiers:
        warnings.append(
            f'work_short_side is {short_side}, but the meta classifier was fitted at '
            f'{bundle.work_short_side}: its ood_probability means little. Set it to -1, or fit '
            'one at this size with meta-ood-train fit-meta.'
        )
    return replace(loaded, warnings=(*warnings, *loaded.warnings))


def _find_bundle(text: str) -> Path | None:
    """Return the folder that the parameter names; what is no path is the name of a bundle."""
    installed = installed_bundles()
    if text in installed or not text:
        return installed.get(text)
    path = Path(text)
    if not text.startswith(('~', _PACKAGE_SCHEME)) and not path.is_absolute():
        names = ', '.join(installed)
        nearest = get_close_matches(text, installed, n=1, cutoff=0.4)
        guess = f' Did you mean {nearest[0]}?' if nearest else ''
        raise ValueError(
            f'bundle must be absolute, ~/... or package://<package>/..., got {text!r}. By name '
            f'are installed: {names}.{guess} Give one of these, or write the whole path of a '
            f'folder, as in {str(Path.cwd() / text)!r}.'
        )
    return resolve_path(text, parameter='bundle')


def _make_pipeline_on_cpu(
    bundle: Bundle, settings: NodeSettings, reason: Exception
) -> LoadedPipeline:
    """Return a pipeline on the CPU where the GPU failed; where both fail, say both reasons."""
    on_gpu = first_line(reason)
    try:
        loaded = _make_pipeline(bundle, settings, 'cpu')
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f'device auto must find a GPU or a CPU that works, got for the GPU: {on_gpu}; and for '
            f'the CPU: {first_line(error)}. Correct the first, or what the second asks for.'
        ) from reason
    if isinstance(reason, BackendDeviceError):
        sentence = f'device auto found a GPU that the backend cannot use ({on_gpu})'
        do = 'Install what it lacks'
    else:
        sentence = f'device auto found a GPU that does not work ({on_gpu})'
        do = 'Check nvidia-smi'
    sentence += f': the network runs on the CPU, which is slow. {do}, or set device to cpu.'
    return replace(loaded, warnings=(sentence, *loaded.warnings))


def _make_pipeline(bundle: Bundle, settings: NodeSettings, device: str) -> LoadedPipeline:
    """Return a pipeline that has processed an image and was checked with it."""
    pipeline = OodPipeline(
        bundle,
        settings,
        device,
        backend=settings.backend,
        precision=settings.precision,
        engine_cache=settings.engine_cache,
    )
    # Smooth patches of colour: noise has no classes to agree on.
    colors = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    short_side = pipeline.effective_short_side(settings)
    trial = pipeline.fixed_size or _enlarge(TRIAL_SIZE, short_side)
    image = cv2.resize(colors, trial[::-1], interpolation=cv2.INTER_CUBIC)
    # At this threshold all of it is OoD, so that the code about segments is compiled, too.
    pipeline(image, settings=replace(settings, entropy_threshold=1e-3, min_size_px=0))
    size = pipeline.work_size(trial, settings)
    x = to_network_input(image, size, mean=bundle.input_mean, std=bundle.input_std)
    first = pipeline.backend
    if settings.backend == 'auto':
        pipeline.backend = choose_backend(
            first,
            pipeline.build_network(),
            x,
            device=torch.device(device),
            engine_cache=settings.engine_cache,
        ).backend
    backend = pipeline.backend
    wanted = batch_sizes(backend, len(settings.cameras), has_fixed_batch=pipeline.has_fixed_batch)
    sizes, warnings = _prepare_batches(backend, size, wanted)
    if settings.build_only and pipeline.fixed_size is None:
        wide = pipeline.work_size(_enlarge(WIDE_SIZE, short_side), settings)
        for batch in sizes:
            backend.prepare(wide, batch=batch)
    is_reference = (backend.name, backend.precision) == ('eager', 'fp32')
    # One that auto chose has been checked already.
    if settings.self_check and backend is first and not is_reference:
        self_check(backend, pipeline.build_network(), x)
    return LoadedPipeline(pipeline, sizes, size, warnings)


def _enlarge(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Return the size of an image of this shape whose short side is at least so many pixels."""
    scale = max(1.0, short_side / min(size))
    return math.ceil(size[0] * scale), math.ceil(size[1] * scale)


def _prepare_batches(
    backend: Backend, size: tuple[int, int], wanted: Sequence[int]
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the batch sizes that the backend takes, and a warning where these are not all."""
    for index, batch in enumerate(wanted):
        if batch == 1:
            continue  # an image has gone through already
        try:
            backend.prepare(size, batch=batch)
        except (RuntimeError, BackendError) as error:  # mostly too little memory
            most = wanted[index - 1]
            return tuple(wanted[:index]), (
                f'{batch} frames do not go through the network together ({first_line(error)}): '
                f'at most {most} at a time do, which is slower with several cameras. Free memory '
                'on the GPU, or set a smaller work_short_side.',
            )
    return tuple(wanted), ()
