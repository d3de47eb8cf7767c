"""A network of one's own as an ONNX file -> a bundle, and a bundle's network -> an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from meta_ood_ros.core.backends.onnx_export import to_onnx
from meta_ood_ros.core.bundle import Bundle, ONNX_ARCHITECTURE
from meta_ood_ros.core.bundle_files import load_bundle, save_bundle
from meta_ood_ros.core.files.whole_files import write_whole
from meta_ood_ros.core.image import to_network_input
from meta_ood_ros.core.networks import OnnxNetwork, OodNetwork
from meta_ood_ros.core.uncertainty import normalized_entropy
from meta_ood_ros.scenes import render_scene
from meta_ood_training.bundles.export import BundleResult, check_name, check_terms
from meta_ood_training.datasets.classes_file import read_classes
import torch

LARGEST_DIFFERENCE = 1e-3
"""Entropy that the exported file may differ by anywhere on a scene [share of log C]."""
_SEED = 3


def import_onnx(
    file: str | Path,
    output: str | Path,
    *,
    classes: str | Path,
    mean: Sequence[float],
    std: Sequence[float],
    name: str | None = None,
    stride: int = 32,
    align_corners: bool = False,
    work_short_side: int = 0,
    entropy_threshold: float = 0.5,
    licence: str | None = None,
    data_terms: str | None = None,
) -> BundleResult:
    """
    Make a bundle of a network that lies in an ONNX file.

    Parameters
    ----------
    file : str or Path
        One float32 image (N, 3, h0, w0) in, logits (N, C, h, w) out.
    output : str or Path
        Directory of the bundle.
    classes : str or Path
        classes.yaml: the C names and colours in the order of the outputs.
    mean, std : sequence of 3 float
        Of RGB values in [0, 1], as the network was trained.
    name : str, optional
        Of the bundle; that of the directory.
    stride : int
        The input's sides are rounded to multiples of it.
    align_corners : bool
        How the logits are to be scaled, as the network was trained.
    work_short_side : int
        In pixels, 64 to 4096; 0 takes images as they come.
    entropy_threshold : float
        In (0, 1].
    licence, data_terms : str
        Of the weights, and terms of the training data; asked for.

    Returns
    -------
    BundleResult
        The bundle, its directory and size.

    Raises
    ------
    ValueError
        The file, the classes or the terms are missing or wrong, or a trial run fails.

    """
    path, output = Path(file), Path(output)
    if not path.is_file():
        raise ValueError(f'an ONNX network must be a file, got {str(path)!r}, which is none.')
    check_terms(licence, data_terms)
    table = read_classes(classes)
    bundle = Bundle(
        name=check_name(name, output),
        architecture=ONNX_ARCHITECTURE,
        arguments={'stride': stride, 'align_corners': align_corners},
        class_names=table.names,
        class_colors=table.colors,
        input_mean=_triple(mean, '--mean'),
        input_std=_triple(std, '--std'),
        entropy_threshold=entropy_threshold,
        work_short_side=work_short_side,
        provenance={
            'made': datetime.now(timezone.utc).date().isoformat(),
            'command': f'imported from {path.name}',
        },
        licence_of_weights=licence or '',
        data_terms=data_terms or '',
        onnx=path.read_bytes(),
    )
    bundle.build_network()  # its trial run refuses what cannot work before anything is written
    saved = save_bundle(bundle, output)
    return BundleResult(saved, output, sum(one.stat().st_size for one in output.iterdir()))


def export_onnx(
    bundle: Bundle | str | Path | None, output: str | Path, *, size: tuple[int, int] | None = None
) -> float:
    """
    Write the network of a bundle as an ONNX file, after trying what was exported.

    Parameters
    ----------
    bundle : Bundle, str or Path, optional
        The installed default where absent.
    output : str or Path
        The file.
    size : (int, int), optional
        Height and width of the input, which the file fixes; needed but for a bundle that holds
        an ONNX file, which is written as it is.

    Returns
    -------
    float
        By how much its entropy of a scene differs from PyTorch's at most.

    Raises
    ------
    ValueError
        The size is missing or no multiple of the stride, or the file says something else.

    """
    loaded = load_bundle(bundle)
    if loaded.architecture == ONNX_ARCHITECTURE:
        write_whole(Path(output), loaded.onnx)
        return 0.0
    network = loaded.build_network()
    if size is None or any(side < 1 or side % network.stride for side in size):
        raise ValueError(
            f'--size must be HEIGHTxWIDTH in multiples of {network.stride} px, the stride of '
            f'{loaded.architecture}, got {size and "x".join(map(str, size))}. Example: '
            f'{16 * network.stride}x{32 * network.stride}.'
        )
    content = to_onnx(network, (1, 3, *size))
    exported = OnnxNetwork(content, num_classes=loaded.num_classes, stride=network.stride)
    difference = _difference(network, exported, loaded, size)
    if not difference <= LARGEST_DIFFERENCE:
        raise ValueError(
            f'the exported network must have the entropy of the bundle to {LARGEST_DIFFERENCE}, '
            f'got a difference of {difference:.2g}. Update onnx and onnxruntime.'
        )
    write_whole(Path(output), content)
    return difference


def _difference(
    network: OodNetwork, exported: OodNetwork, bundle: Bundle, size: tuple[int, int]
) -> float:
    image = render_scene(_SEED, size=(360, 640)).image
    x = to_network_input(image, size, mean=bundle.input_mean, std=bundle.input_std)
    with torch.inference_mode():
        one, other = (normalized_entropy(net(x), dim=1) for net in (network, exported))
    return float((one - other).abs().max())


def _triple(values: Sequence[float], option: str) -> tuple[float, float, float]:
    if len(values) != 3:
        raise ValueError(
            f'{option} must be three numbers, of red, green and blue in [0, 1], got '
            f'{len(values)}. Example: --mean 0.485 0.456 0.406 --std 0.229 0.224 0.225.'
        )
    red, green, blue = map(float, values)
    return red, green, blue
