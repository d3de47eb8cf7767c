"""
Training steps a second: our loop against a plain reference loop, in the same run.

    python -m benchmarks.finetune_throughput [--steps 6] [--batch 4] [--crop 352]

Both train ESPNetv2 (19 classes, random weights, Adam) on the same procedural scenes. The
reference is written by us from the published description: float32, contiguous tensors,
num_workers 0, and a target of C planes built on the CPU with numpy, one identity row a pixel.
Each runs in a process of its own; they take turns, so that both see whatever else the machine
does.
"""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
import json
import statistics
import subprocess
import sys
import time

from meta_ood_ros.core.image import IMAGENET_MEAN, IMAGENET_STD
from meta_ood_ros.core.memory import keep_freed_memory
from meta_ood_ros.core.networks import build_network
from meta_ood_training.augmentation import AugmentationSettings
from meta_ood_training.datasets.sample import OOD
from meta_ood_training.mixing import MixedSamples
from meta_ood_training.trainer.batches import join_batches, RunBatches, TrainingSamples
from meta_ood_training.trainer.cpu_layers import speed_up_layers
from meta_ood_training.trainer.objective import upsampled_objective
from meta_ood_training.trainer.street import SceneSamples
import numpy as np
import torch
from torch import nn, Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader

LOOPS = ('reference', 'ours')
CLASSES = 19
WEIGHT = 0.9


def reference_target(targets: np.ndarray) -> np.ndarray:
    """Return the published target: C float64 planes, (N, H, W) uint8 -> (N, C, H, W)."""
    rows = np.concatenate([np.eye(CLASSES) * (1 - WEIGHT), np.zeros((256 - CLASSES, CLASSES))])
    rows[OOD] = WEIGHT / CLASSES
    return rows[targets].transpose(0, 3, 1, 2)


def reference_steps(samples: MixedSamples, batch: int, network: nn.Module) -> Iterator[float]:
    """Train a step at a time as the published code does; yield its loss."""
    optimizer = torch.optim.Adam(network.parameters(), 1e-5)
    network.train()
    for places in RunBatches(samples.epoch_length, 1000, batch):
        made = [samples[place] for place in places]
        images = np.stack([(one.image / 255.0 - IMAGENET_MEAN) / IMAGENET_STD for one in made])
        x = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32).copy())
        y = torch.from_numpy(reference_target(np.stack([one.target for one in made])))
        logits = upsample(network(x), x)
        loss = (y * -torch.log_softmax(logits, 1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield float(loss.detach())


def our_steps(samples: MixedSamples, batch: int, network: nn.Module) -> Iterator[float]:
    """Train a step at a time as `finetune` does; yield its loss."""
    speed_up_layers(network)
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(network.parameters(), 1e-5)
    loader = DataLoader(
        TrainingSamples(samples, with_clean=False),
        batch_sampler=RunBatches(samples.epoch_length, 1000, batch),
        num_workers=1,
        collate_fn=join_batches,
    )
    mean = torch.tensor(IMAGENET_MEAN).reshape(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD).reshape(1, 3, 1, 1)
    for one in loader:
        x = one.images.permute(0, 3, 1, 2).float().div(255).sub(mean).div(std)
        x = x.contiguous(memory_format=torch.channels_last)
        loss = upsampled_objective(
            network(x),
            one.targets,
            align_corners=True,
            ood_loss_weight=WEIGHT,
            normalization='all_pixels',
        ).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield float(loss.detach())


def upsample(logits: Tensor, x: Tensor) -> Tensor:
    """Return the logits at the size of the input."""
    return interpolate(logits, x.shape[2:], mode='bilinear', align_corners=True)


def serve(loop: str, batch: int, crop: int) -> None:
    """Run a step of a loop for each line of the input; print its seconds and its loss."""
    if loop == 'ours':
        keep_freed_memory()
    scenes = SceneSamples(4 * batch)
    for index in range(len(scenes)):
        scenes[index]  # drawing is no part of training
    samples = MixedSamples([scenes], augmentation=AugmentationSettings(crop=crop))
    torch.manual_seed(0)
    network = build_network('espnet_v2', num_classes=CLASSES, scale=2.0)
    steps = (our_steps if loop == 'ours' else reference_steps)(samples, batch, network)
    for _ in sys.stdin:
        start = time.perf_counter()
        loss = next(steps)
        print(json.dumps({'seconds': time.perf_counter() - start, 'loss': loss}), flush=True)


def take_turns(steps: int, batch: int, crop: int) -> dict[str, list[dict[str, float]]]:
    """Return what both loops, in processes of their own, print for a first step and `steps`."""
    command = [sys.executable, '-m', 'benchmarks.finetune_throughput']
    options = ['--batch', str(batch), '--crop', str(crop)]
    with ExitStack() as stack:
        loops = {
            name: stack.enter_context(
                subprocess.Popen(
                    [*command, *options, '--loop', name],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for name in LOOPS
        }
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in LOOPS}
        for _ in range(1 + steps):
            for name, process in loops.items():
                process.stdin.write('\n')
                process.stdin.flush()
                taken[name].append(json.loads(process.stdout.readline()))
        for process in loops.values():
            process.stdin.close()
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--steps', type=int, default=6, help='measured steps of each loop')
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--crop', type=int, default=352)
    parser.add_argument('--loop', choices=LOOPS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.loop:
        serve(arguments.loop, arguments.batch, arguments.crop)
        return
    taken = take_turns(arguments.steps, arguments.batch, arguments.crop)
    measured = {name: [one['seconds'] for one in rows[1:]] for name, rows in taken.items()}
    ratios = [a / b for a, b in zip(measured['reference'], measured['ours'], strict=True)]
    result = {
        'seconds_a_step': {
            name: {'median': statistics.median(times), 'min': min(times), 'max': max(times)}
            for name, times in measured.items()
        },
        'first_loss': {name: rows[0]['loss'] for name, rows in taken.items()},
        'speedup_median': statistics.median(ratios),
        'speedup_pairs': {'min': min(ratios), 'max': max(ratios)},
        'threads': torch.get_num_threads(),
        'batch': arguments.batch,
        'crop': arguments.crop,
        'steps': arguments.steps,
    }
    print(json.dumps(result, indent=1))


if __name__ == '__main__':
    main()
