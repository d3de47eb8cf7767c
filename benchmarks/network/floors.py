"""
What the machine allows at best, and how far the dense pass and the network are above it.

A floor is a number of bytes divided by the measured copy bandwidth of all cores, or a number of
floating point operations divided by the measured rate of a large float32 matrix product. Both
are measured in the same rounds as what stands above them.
"""

from collections.abc import Callable
import statistics

from meta_ood_ros.core.backends import load_backend
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.dense import predict_dense
from meta_ood_ros.core.image import to_work_size
from meta_ood_ros.core.kernels.parallel import run_over_rows
import numpy as np
import torch

from benchmarks.figures.comparison import Comparison, Options, time_in_turns
from benchmarks.network.default_bundle import IMAGE_SIZE
from benchmarks.network.flops import count_flops
from benchmarks.segments.synthetic import CLASSES, make_scene

TITLE = 'Above the floors of this machine (CPU)'
# Four times the 32 MB of last-level cache of the machine that we measure on, each of the two.
COPY_BYTES = 128 * 2**20
MATMUL_SIDE = 2048
# Of float32 numbers a pixel and class, as in kernels/dense_cpu.py: 3 to interpolate along the
# row, 1 for the distance to the best, 16 for its exponential and 3 for the two sums. Comparisons
# and the interpolation between rows, which pixels share, are not counted.
DENSE_FLOPS = 23


def measure(options: Options) -> list[Comparison]:
    """Return the rows of the dense pass and of the default bundle's network."""
    return measure_floors(load_bundle(), options, copy_bytes=COPY_BYTES, matmul_side=MATMUL_SIDE)


def measure_floors(
    bundle: Bundle, options: Options, *, copy_bytes: int, matmul_side: int
) -> list[Comparison]:
    """
    Return one row a floor.

    Parameters
    ----------
    bundle : Bundle
        Whose network is run, on the eager backend that the node takes by itself.
    copy_bytes : int
        Size of the array that is copied; beyond the caches, it measures the memory.

    """
    height, width = options.image_size
    scene = make_scene(
        (height // 4, width // 4), options.image_size, segments=options.segments, share=0.05
    )
    network = bundle.build_network()
    work_size = to_work_size(IMAGE_SIZE, short_side=bundle.work_short_side, stride=network.stride)
    backend = load_backend('eager', network, device='cpu', precision='fp32')
    x = torch.zeros(1, 3, *work_size)
    times = time_in_turns(
        {
            'copy': _copying(copy_bytes),
            'matmul': _multiplying(matmul_side),
            'dense': lambda: predict_dense(scene.logits, scene.size),
            'network': lambda: backend(x),
        },
        options.rounds,
    )
    # a copy reads and writes; milliseconds a byte, a floating point operation
    per_byte = [ms / (2 * copy_bytes) for ms in times['copy'].wall]
    per_flop = [ms / (2 * matmul_side**3) for ms in times['matmul'].wall]
    dense_bytes = count_dense_bytes(scene.logits.shape, scene.size)
    dense_flops = DENSE_FLOPS * CLASSES * height * width
    network_flops = count_flops(network, work_size)
    grid = tuple(scene.logits.shape)
    dense = f'logits {grid} to {height}x{width}'
    run = f'{bundle.architecture} of bundle {bundle.name} at {work_size[1]}x{work_size[0]}'
    memory = {'gb_per_s': 1e-6 / statistics.median(per_byte)}
    arithmetic = {'gflop_per_s': 1e-6 / statistics.median(per_flop)}
    return [
        Comparison(
            f'{dense}, {1e-6 * dense_bytes:.1f} MB in and out',
            'predict_dense',
            'bytes / copy bandwidth',
            times['dense'].wall,
            [dense_bytes * ms for ms in per_byte],
            kind='cost',
            details={'bytes': dense_bytes, **memory},
        ),
        Comparison(
            f'{dense}, {1e-9 * dense_flops:.2f} GFLOP',
            'predict_dense',
            'FLOPs / float32 matmul rate',
            times['dense'].wall,
            [dense_flops * ms for ms in per_flop],
            kind='cost',
            details={'flops': dense_flops, **arithmetic},
        ),
        Comparison(
            f'{run}, {1e-9 * network_flops:.1f} GFLOP',
            'network, backend eager',
            'FLOPs / float32 matmul rate',
            times['network'].wall,
            [network_flops * ms for ms in per_flop],
            kind='cost',
            details={'flops': network_flops, **arithmetic},
        ),
    ]


def count_dense_bytes(grid: tuple[int, ...], size: tuple[int, int]) -> int:
    """
    Return what the dense pass has to read and write at least.

    Parameters
    ----------
    size : (int, int)
        Height and width of the maps: 1 byte of class, 4 of entropy, 4 of probability a pixel.

    """
    return 4 * int(np.prod(grid)) + 9 * size[0] * size[1]


def _copying(size: int) -> Callable[[], object]:
    """Return a function that copies so many bytes with all cores."""
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    chunk = 2**22  # some for each thread: other processes take cores away

    def work(first: int, last: int) -> None:
        np.copyto(target[first:last], source[first:last])  # releases the GIL

    return lambda: run_over_rows(work, size, rows_per_chunk=chunk)


def _multiplying(side: int) -> Callable[[], torch.Tensor]:
    a, b = torch.rand(side, side), torch.rand(side, side)
    out = torch.empty(side, side)
    return lambda: torch.mm(a, b, out=out)
