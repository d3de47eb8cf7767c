"""
Everything that only a GPU can show, in one run within ten minutes: `make gpu`.

1. Every backend and precision that is to be had, on each network, against float32 on the CPU.
2. The kernels of the dense pass on the GPU against their definition.
3. DeepLabv3+ WideResNet38 at 1024x2048 against the measured rate of a matrix product.
4. Frames together: milliseconds an image at batch 1 to 8.
5. The node's pipeline from image to OodResult, GPU against CPU, with the default bundle.
6. A short training: steps a second.

A part that fails is named in the JSON with its reason and costs no other part.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
import json
import math
from pathlib import Path
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from meta_ood_ros.core.backends import BackendError, load_backend, self_check
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.image import to_network_input
from meta_ood_ros.core.kernels.dense_torch import predict_in_strips
from meta_ood_ros.core.networks import build_network, NETWORK_NAMES, OodNetwork
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.uncertainty import normalized_entropy
from meta_ood_ros.scenes import render_scene
import torch

from benchmarks.figures.comparison import Options
from benchmarks.figures.report import describe_machine
from benchmarks.network.gpu import measure as measure_wide_resnet

BACKENDS = (
    ('eager', 'fp32'),
    ('eager', 'fp16'),
    ('eager', 'bf16'),
    ('compile', 'fp16'),
    ('onnx', 'fp32'),
    ('tensorrt', 'fp16'),
)
CHECK_SIZE = (256, 384)
BATCHES = (1, 2, 4, 8)
TRAINING = """\
network: {architecture: espnet_v2, arguments: {scale: 2.0}, num_classes: 19}
street: [{layout: scenes, count: 4, targets: labels}]
objective: {ood_loss_weight: 0.25}
augmentation: {crop: 352}
training: {epochs: 1000, max_steps: 40, batch_size: 16, workers: 4, precision: bf16-mixed}
"""


def check_backends(
    device: str, choices: Sequence[tuple[str, str]] = BACKENDS
) -> list[dict[str, Any]]:
    """Return one row for each network, backend and precision: its self-check or the reason."""
    image = render_scene(0, size=CHECK_SIZE).image
    rows: list[dict[str, Any]] = []
    for name, network in _networks().items():
        x = to_network_input(image, mean=network.input_mean, std=network.input_std)
        for backend_name, precision in choices:
            row = {'network': name, 'backend': backend_name, 'precision': precision}
            try:
                backend = load_backend(backend_name, network, device=device, precision=precision)
                row |= asdict(self_check(backend, network, x)) | {
                    'ms': _median_ms(partial(backend, x), device)
                }
            except (BackendError, RuntimeError, ImportError) as error:
                row['reason'] = str(error).splitlines()[0]
            rows.append(row)
    return rows


def check_dense(device: str, size: tuple[int, int] = (1024, 2048)) -> list[dict[str, Any]]:
    """Return how far the dense kernels are from softmax and entropy of upsampled logits."""
    kernels: dict[str, Callable[..., Any]] = {'torch, in strips': predict_in_strips}
    try:
        from meta_ood_ros.core.kernels.dense_triton import predict_with_triton

        kernels['triton'] = predict_with_triton
    except ImportError as error:
        print(f'  triton: not measured. {error}')
    generator = torch.Generator().manual_seed(0)
    grid = size[0] // 8, size[1] // 8
    logits = (8 * torch.randn(19, *grid, generator=generator)).to(device)
    full = torch.nn.functional.interpolate(
        logits[None].double(), size, mode='bilinear', align_corners=False
    )[0]
    expected = normalized_entropy(full, 0).float()
    rows = []
    for name, kernel in kernels.items():
        entropy = torch.as_tensor(kernel(logits, size, align_corners=False)[1]).to(device)
        largest = (entropy - expected).abs().max().item()
        took = _median_ms(partial(kernel, logits, size, align_corners=False), device)
        rows.append({'kernel': name, 'largest_difference': largest, 'ms': took})
    return rows


def measure_batches(device: str) -> list[dict[str, Any]]:
    """Return milliseconds an image, by network and number of images together."""
    rows = []
    for name, network in _networks().items():
        backend = load_backend('eager', network, device=device, precision='fp16')
        for count in BATCHES:
            x = torch.randn(count, 3, 512, 704, device=device)
            took = _median_ms(partial(backend, x), device)
            rows.append({'network': name, 'batch': count, 'ms_an_image': took / count})
    return rows


def measure_pipeline(device: str) -> list[dict[str, Any]]:
    """Return milliseconds from image to OodResult on GPU and CPU, in turns, by image size."""
    bundle = load_bundle()
    places = ('cpu', device) if device != 'cpu' else ('cpu',)
    pipelines = {one: OodPipeline(bundle, device=one) for one in places}
    rows = []
    for size in ((360, 480), (720, 1280), (1080, 1920)):
        image = render_scene(1, size=size).image
        times: dict[str, list[float]] = {one: [] for one in pipelines}
        for turn in range(13):
            for one, pipeline in pipelines.items():
                start = time.perf_counter()
                pipeline(image)
                if turn >= 3:
                    times[one].append(1e3 * (time.perf_counter() - start))
        rows += [
            {'image': size, 'device': one, 'ms': statistics.median(taken)}
            for one, taken in times.items()
        ]
    return rows


def measure_training(device: str) -> dict[str, Any]:
    """Return steps a second of `meta-ood-train finetune`, 40 steps of 16 crops of scenes."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / 'config.yaml'
        config.write_text(TRAINING)
        command = [sys.executable, '-m', 'meta_ood_training.cli', 'finetune', str(config)]
        start = time.perf_counter()
        done = subprocess.run(
            [*command, '--output', f'{folder}/run'],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        if done.returncode:
            raise RuntimeError((done.stderr or done.stdout)[-2000:])
        seconds = time.perf_counter() - start
        return {'device': device, 'steps': 40, 'crops_a_step': 16, 'seconds_with_start': seconds}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every part and write the JSON; 1 where a part failed."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.network.gpu_script', description=__doc__
    )
    parser.add_argument('--output', type=Path, default=Path('benchmarks/results/gpu.json'))
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--only', nargs='+', default=[], metavar='PART')
    parsed = parser.parse_args(arguments)
    if parsed.device == 'cuda' and not torch.cuda.is_available():
        print('There is no GPU here that PyTorch can use; --device cpu tries the script itself.')
        return 2
    options = Options(parsed.rounds, (1024, 2048))
    parts: dict[str, Callable[[], Any]] = {
        'backends': lambda: check_backends(parsed.device),
        'dense': lambda: check_dense(parsed.device),
        'batches': lambda: measure_batches(parsed.device),
        'pipeline': lambda: measure_pipeline(parsed.device),
        'wide_resnet38': lambda: [asdict(row) for row in measure_wide_resnet(options)],
        'training': lambda: measure_training(parsed.device),
    }
    unknown = [name for name in parsed.only if name not in parts]
    if unknown:
        parser.error(f'--only must name some of {", ".join(parts)}, got {", ".join(unknown)}.')
    results: dict[str, Any] = {'machine': describe_machine()}
    if torch.cuda.is_available():
        results['gpu'] = torch.cuda.get_device_name()
    failed = []
    parsed.output.parent.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        if parsed.only and name not in parsed.only:
            continue
        print(f'{name} ...', flush=True)
        start = time.perf_counter()
        try:
            results[name] = part()
        # one part that cannot be had must not cost the others
        except Exception as error:
            failed.append(name)
            results[name] = {'failed': f'{type(error).__name__}: {error}'}
            print(f'  failed: {results[name]["failed"][:400]}', flush=True)
        print(f'  [{time.perf_counter() - start:.0f} s]', flush=True)
        parsed.output.write_text(json.dumps(results, indent=1, default=str), encoding='utf-8')
    for name, rows in results.items():
        for row in rows if isinstance(rows, list) else []:
            print(name, {key: _short(value) for key, value in row.items()})
    print(f'written to {parsed.output}')
    return 1 if failed else 0


def _networks() -> dict[str, OodNetwork]:
    """Return the default bundle's network, and the others that fit a robot with random weights."""
    torch.manual_seed(0)
    light = ('deeplabv3plus_mobilenet_edgetpu', 'efficientvit_seg_b0')
    found = {'default bundle': load_bundle().build_network().eval()}
    for name in light:
        assert name in NETWORK_NAMES
        found[name] = build_network(name, num_classes=19).eval()
    return found


def _median_ms(run: Callable[[], Any], device: str, *, rounds: int = 15) -> float:
    taken = []
    for turn in range(rounds + 4):
        start = time.perf_counter()
        run()
        if device.startswith('cuda'):
            torch.cuda.synchronize(device)
        if turn >= 4:
            taken.append(1e3 * (time.perf_counter() - start))
    return statistics.median(taken)


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f'{value:.3g}') if math.isfinite(value) else value
    if isinstance(value, list) and len(value) > 4:
        return f'{len(value)} values, median {_short(statistics.median(value))}'
    return value


if __name__ == '__main__':
    sys.exit(main())
