"""
The default bundle on a stream of 480x360 images, CPU: each backend against plain PyTorch.

The baseline is the network as it was built: float32, contiguous, no layer folded into another,
called under torch.inference_mode, with as many threads as the backends have. It is run alone and
inside the pipeline, whose other steps are then the same on both sides.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from meta_ood_ros.core.backends import Backend, BackendError, load_backend, self_check
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.image import to_network_input
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.scenes import render_scene
import numpy as np
import torch
from torch import nn, Tensor

from benchmarks.figures.comparison import compare_times, Comparison, Options, time_in_turns, Times

TITLE = 'Default bundle on 480x360 images, CPU'
IMAGE_SIZE = (360, 480)
IMAGES = 4
BACKENDS = (
    'eager',
    'eager bf16',
    'compile',
    'compile bf16',
    'onnx',
    'openvino',
    'openvino bf16',
)
TARGET = 2.0
BASELINE = 'eager float32: contiguous, nothing folded'


class PlainBackend:
    """A network called as it is: what somebody writes who has just loaded it."""

    name, precision, device = 'plain', 'fp32', torch.device('cpu')

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits, see `Backend`."""
        with torch.inference_mode():
            return self._network(x.contiguous())

    def prepare(self, size: tuple[int, int], *, batch: int = 1) -> None:
        """Nothing is to be prepared, see `Backend`."""


def measure(options: Options) -> list[Comparison]:
    """Return two rows a backend, the network alone and the whole pipeline."""
    images = [render_scene(seed, size=IMAGE_SIZE, ood_objects=2).image for seed in range(IMAGES)]
    return measure_bundle(load_bundle(), images, options.rounds)


def measure_bundle(
    bundle: Bundle,
    images: list[np.ndarray],
    rounds: int,
    backends: tuple[str, ...] = BACKENDS,
) -> list[Comparison]:
    """
    Return two rows a backend; those of the fastest have the target.

    Parameters
    ----------
    images : list of ndarray of shape (H, W, 3), uint8
        All of one size; in each round each is processed once.
    backends : tuple of str
        Names, each with the precision behind it where that is not fp32.

    """
    network = bundle.build_network()
    pipeline = OodPipeline(bundle)
    size = pipeline.work_size(images[0].shape[:2])
    inputs = [
        to_network_input(image, size, mean=bundle.input_mean, std=bundle.input_std)
        for image in images
    ]
    loaded: dict[str, Any] = {'plain': PlainBackend(network)}
    agreement = {}
    for name in backends:
        try:
            kind, _, precision = name.partition(' ')
            loaded[name] = load_backend(kind, network, device='cpu', precision=precision or 'fp32')
            check = self_check(loaded[name], network, inputs[0])
        except BackendError as error:
            loaded.pop(name, None)
            print(f'  {name}: not measured. {error}')
            continue
        agreement[name] = {'largest_difference_of_entropy': check.largest_difference}
    runs = {}
    for name, backend in loaded.items():
        runs[f'network alone|{name}'] = _over(inputs, backend)
        runs[f'image to OodResult|{name}'] = _over(images, _with_backend(bundle, backend))
    times = time_in_turns(runs, rounds)
    height, width = images[0].shape[:2]
    rows = []
    for part in ('network alone', 'image to OodResult'):
        mine = {name: times[f'{part}|{name}'] for name in loaded}
        rows += _to_rows(
            f'{part}, {width}x{height} at {size[1]}x{size[0]}, {len(images)} images a round',
            mine,
            agreement,
        )
    return rows


def _over(items: list[Any], run: Callable[[Any], Any]) -> Callable[[], None]:
    def run_all() -> None:
        for item in items:
            run(item)

    return run_all


def _with_backend(bundle: Bundle, backend: Backend) -> OodPipeline:
    pipeline = OodPipeline(bundle, backend='eager')
    pipeline.backend = backend
    return pipeline


def _to_rows(
    case: str, times: dict[str, Times], details: dict[str, dict[str, float]]
) -> list[Comparison]:
    """Return one row for each backend but the plain one; the best one gets the target."""
    rows = [
        compare_times(case, name, BASELINE, (mine, times['plain']), details=details[name])
        for name, mine in times.items()
        if name != 'plain'
    ]
    best = max(rows, key=lambda row: row.ratio, default=None)
    return [replace(row, target=TARGET) if row is best else row for row in rows]
