"""
DeepLabv3+ with WideResNet38 on a GPU, 1024x2048, batch 1, against its floor.

The floor is the FLOPs of the network divided by the rate of a large fp16 matrix product, measured
in the same rounds. Weights are random, which costs the same as trained ones; what follows the
network gets the logits of a scene with a known number of segments.

Without CUDA there are no rows. The figure has not been run on a GPU yet; on the CPU it is tested
with a small network.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
import math
import statistics
from typing import Any

from meta_ood_ros.core.backends import Backend, BackendError, load_backend
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.classes import CITYSCAPES_COLORS, CITYSCAPES_NAMES
from meta_ood_ros.core.networks import build_network
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.scenes import render_scene
import torch

from benchmarks.figures.comparison import compare_times, Comparison, Options, time_in_turns
from benchmarks.network.flops import count_flops
from benchmarks.segments.synthetic import CLASSES, make_classifier, make_scene, THRESHOLD

TITLE = 'DeepLabv3+ WideResNet38 on a GPU, end to end, batch 1'
TARGET = 2.0
POST_PROCESSING_MS = 1.5


@dataclass(frozen=True)
class Case:
    """
    What is run where.

    Attributes
    ----------
    backends : tuple of str
        Those that cannot be had are left out, with the reason printed.
    matmul_side : int
        Rows and columns of the square matrices; 8192 fills a large GPU.

    """

    device: str = 'cuda'
    architecture: str = 'deeplabv3plus_wide_resnet38'
    backends: tuple[str, ...] = ('eager', 'compile', 'tensorrt')
    precision: str = 'fp16'
    matmul_side: int = 8192
    grid_divisor: int = 2
    segments: int = 150


class KnownLogits:
    """
    Runs a network and returns other logits than its own: random weights know no segments.

    Parameters
    ----------
    logits : Tensor of shape (C, h, w)
        On the same device.

    """

    def __init__(self, backend: Backend, logits: torch.Tensor) -> None:
        self._backend = backend
        self._logits = logits
        self.name, self.precision = backend.name, backend.precision
        self.device = backend.device

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the known logits once the network is on its way, see `Backend`."""
        self._backend(x)
        return self._logits[None]

    def prepare(self, size: tuple[int, int], *, batch: int = 1) -> None:
        """Prepare the network, see `Backend`."""
        self._backend.prepare(size, batch=batch)


def measure(options: Options) -> list[Comparison]:
    """Return the rows of a machine with CUDA, none elsewhere."""
    if not torch.cuda.is_available():
        print('  needs a GPU and a PyTorch with CUDA')
        return []
    return measure_case(Case(segments=options.segments), options.image_size, options.rounds)


def measure_case(case: Case, size: tuple[int, int], rounds: int) -> list[Comparison]:
    """Return one row a backend, and two about what follows the network."""
    grid = size[0] // case.grid_divisor, size[1] // case.grid_divisor
    scene = make_scene(grid, size, segments=case.segments, share=0.05)
    logits = scene.logits.to(case.device)
    bundle = make_bundle(case.architecture, size)
    image = render_scene(0, size=size).image
    flops = count_flops(bundle.build_network(), size)
    pipelines = _load_pipelines(case, bundle, logits)
    after = OodPipeline(bundle, device=case.device, backend='eager', precision=case.precision)
    stages: dict[str, list[float]] = {}

    def post_process() -> None:
        for name, ms in after.from_logits(logits, size).milliseconds.items():
            stages.setdefault(name, []).append(ms)

    runs: dict[str, Callable[[], Any]] = {
        name: partial(pipeline, image) for name, pipeline in pipelines.items()
    }
    runs |= {
        'matmul': _multiplying(case),
        'post_processing': post_process,
        'naive': lambda: predict_naively(logits, size),
    }
    runs = {name: _waited(run, case.device) for name, run in runs.items()}
    for run in runs.values():  # libraries choose kernels, allocators fill, clocks rise
        for _ in range(3):
            run()
    stages.clear()
    times = time_in_turns(runs, rounds)
    per_flop = [ms / (2 * case.matmul_side**3) for ms in times['matmul'].wall]
    floor = [flops * ms for ms in per_flop]
    details = {'flops': flops, 'tflop_per_s': 1e-9 / statistics.median(per_flop)}
    rows = [
        Comparison(
            f'image to OodResult, {size[1]}x{size[0]}, {case.precision}',
            name,
            f'{1e-12 * flops:.1f} TFLOP / measured {case.precision} matmul rate',
            times[name].wall,
            floor,
            kind='cost',
            details=details,
        )
        for name in pipelines
    ]
    best = min(rows, key=lambda row: row.ratio, default=None)
    rows = [replace(row, target=TARGET) if row is best else row for row in rows]
    what = f'logits {tuple(logits.shape)} to OodResult, {scene.segments} segments'
    post = times['post_processing']
    return [
        *rows,
        Comparison(
            what,
            'post-processing',
            f'budget of {POST_PROCESSING_MS:g} ms',
            post.wall,
            [POST_PROCESSING_MS] * rounds,
            kind='cost',
            target=1.0,
            details={
                'stages_ms': {name: statistics.median(ms) for name, ms in stages.items()},
            },
        ),
        compare_times(
            what,
            'post-processing',
            'torch: interpolate, softmax, entropy, argmax at full size',
            (post, times['naive']),
        ),
    ]


def make_bundle(architecture: str, size: tuple[int, int]) -> Bundle:
    """Return a bundle with random weights that works at the size of the image."""
    return Bundle(
        name='benchmark',
        architecture=architecture,
        arguments={},
        class_names=CITYSCAPES_NAMES,
        class_colors=CITYSCAPES_COLORS,
        entropy_threshold=THRESHOLD,
        meta_threshold=0.5,
        work_short_side=min(size),
        weights=build_network(architecture, num_classes=CLASSES).state_dict(),
        meta_classifiers=(make_classifier(),),
    )


def predict_naively(
    logits: torch.Tensor, size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return semantic, entropy and max_probability in host memory, made with plain torch."""
    full = torch.nn.functional.interpolate(
        logits[None], size, mode='bilinear', align_corners=True
    )[0]
    probabilities = full.softmax(0)
    entropy = torch.special.entr(probabilities).sum(0) / math.log(len(logits))
    max_probability, semantic = probabilities.max(0)
    return semantic.cpu(), entropy.cpu(), max_probability.cpu()


def _load_pipelines(case: Case, bundle: Bundle, logits: torch.Tensor) -> dict[str, OodPipeline]:
    pipelines = {}
    for name in case.backends:
        network = bundle.build_network()
        try:
            backend = load_backend(name, network, device=case.device, precision=case.precision)
        except BackendError as error:
            print(f'  {name}: not measured. {error}')
            continue
        pipelines[name] = OodPipeline(bundle, device='cpu', backend='eager')
        pipelines[name].backend = KnownLogits(backend, logits)
    return pipelines


def _waited(run: Callable[[], Any], device: str) -> Callable[[], None]:
    """Return a run that ends when the device has done all of it."""

    def run_and_wait() -> None:
        run()
        if device.startswith('cuda'):
            torch.cuda.synchronize(device)

    return run_and_wait


def _multiplying(case: Case) -> Callable[[], torch.Tensor]:
    dtype = {'bf16': torch.bfloat16, 'fp16': torch.float16, 'fp32': torch.float32}
    shape = case.matmul_side, case.matmul_side
    a, b = (torch.rand(shape, device=case.device).to(dtype[case.precision]) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)
