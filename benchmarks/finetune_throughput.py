"""
Training steps a second: our loop against a plain reference loop, in the same run.

    python -m benchmarks.finetune_throughput [--steps 6] [--batch 4] [--crop 352]

Both train ESPNetv2 (19 classes, random weights, Adam) on the same procedural scenes. The
reference is written by us from the published description: float32, contiguous tensors,
num_workers 0, and a target of C planes built on the CPU with numpy, one identity row a pixel.
The two take turns, so that both see whatever else the machine does.
"""

import argparse
from collections.abc import Callable, Iterator
import json
import statistics
import time

from meta_ood_ros.core.image import IMAGENET_MEAN, IMAGENET_STD
from meta_ood_ros.core.networks import build_network
from meta_ood_training.augmentation import AugmentationSettings
from meta_ood_training.datasets.sample import OOD
from meta_ood_training.losses import entropy_maximization_loss
from meta_ood_training.mixing import MixedSamples
from meta_ood_training.trainer.batches import join_batches, RunBatches, TrainingSamples
from meta_ood_training.trainer.cpu_layers import speed_up_layers
from meta_ood_training.trainer.street import SceneSamples
import numpy as np
import torch
from torch import nn, Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader

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
        loss = entropy_maximization_loss(
            upsample(network(x), x),
            one.targets,
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


def timed(steps: Iterator[float]) -> Callable[[], tuple[float, float]]:
    """Return a function that runs one step and gives (seconds, loss)."""

    def run() -> tuple[float, float]:
        start = time.perf_counter()
        loss = next(steps)
        return time.perf_counter() - start, loss

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--steps', type=int, default=6, help='measured steps of each loop')
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--crop', type=int, default=352)
    arguments = parser.parse_args()
    scenes = SceneSamples(4 * arguments.batch)
    for index in range(len(scenes)):
        scenes[index]  # drawing is no part of training
    samples = MixedSamples([scenes], augmentation=AugmentationSettings(crop=arguments.crop))
    loops = {}
    for name, steps in (('reference', reference_steps), ('ours', our_steps)):
        torch.manual_seed(0)
        network = build_network('espnet_v2', num_classes=CLASSES, scale=2.0)
        loops[name] = timed(steps(samples, arguments.batch, network))
    first = {name: run() for name, run in loops.items()}
    measured: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(arguments.steps):
        for name, run in loops.items():
            measured[name].append(run()[0])
    ratios = [a / b for a, b in zip(measured['reference'], measured['ours'], strict=True)]
    result = {
        'seconds_a_step': {
            name: {'median': statistics.median(times), 'min': min(times), 'max': max(times)}
            for name, times in measured.items()
        },
        'first_loss': {name: loss for name, (_, loss) in first.items()},
        'speedup_median': statistics.median(measured['reference'])
        / statistics.median(measured['ours']),
        'speedup_pairs': {'min': min(ratios), 'max': max(ratios)},
        'threads': torch.get_num_threads(),
        'batch': arguments.batch,
        'crop': arguments.crop,
        'steps': arguments.steps,
    }
    print(json.dumps(result, indent=1))


if __name__ == '__main__':
    main()
