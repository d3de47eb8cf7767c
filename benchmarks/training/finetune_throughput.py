"""
Training steps a second: our loop against a plain reference loop, in the same run.

    python -m benchmarks.training.finetune_throughput [--turns 5] [--batch 4] [--crop 352]

Both train ESPNetv2 (19 classes, random weights, Adam) on the same procedural scenes. The
reference is written by us from the published description: float32, contiguous tensors,
num_workers 0, and a target of C planes built on the CPU with numpy, one identity row a pixel.
`ours` is one process; `ranks` is one rank a core, as `torchrun` starts them and as the documents
advise on a CPU, with the same crops in a step. Each runs in processes of its own; they take turns
of several steps, so that all see whatever else the machine does, with a pause in between, so that
no loop's workers draw ahead at the cost of another one. The first steps of a turn, whose samples
were drawn before it, are not counted.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from meta_ood_ros.core.image import IMAGENET_MEAN, IMAGENET_STD
from meta_ood_ros.core.kernels.memory import keep_freed_memory
from meta_ood_ros.core.networks import build_network
from meta_ood_training.datasets.sample import OOD
from meta_ood_training.finetuning.data.augmentation import AugmentationSettings
from meta_ood_training.finetuning.data.batches import join_batches, RunBatches, TrainingSamples
from meta_ood_training.finetuning.data.loaders import yield_to_training
from meta_ood_training.finetuning.data.mixing import MixedSamples
from meta_ood_training.finetuning.data.scene_samples import SceneSamples
from meta_ood_training.finetuning.loop.cpu_layers import speed_up_layers
from meta_ood_training.finetuning.loop.objective import upsampled_objective
import numpy as np
import torch
from torch import nn, Tensor
import torch.distributed as dist
from torch.nn.functional import interpolate
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

LOOPS = ('reference', 'ours', 'ranks')
CLASSES = 19
WEIGHT = 0.9
# A worker keeps two batches ahead, so from the third step on a loop lives on what it draws itself.
UNCOUNTED, COUNTED = 2, 2
PAUSE = 2.0  # seconds in which a worker has drawn ahead what it may


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
    """Train a step at a time as `finetune` does, on all ranks; yield this rank's loss."""
    speed_up_layers(network)
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    if ranks > 1:
        network = DistributedDataParallel(network)
    optimizer = torch.optim.Adam(network.parameters(), 1e-5)
    places = RunBatches(samples.epoch_length, 1000, batch // ranks, rank=rank, world_size=ranks)
    loader = DataLoader(
        TrainingSamples(samples, with_clean=False),
        batch_sampler=places,
        num_workers=1,
        worker_init_fn=yield_to_training,
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
    """Take a turn for each line of the input; print seconds a step and the first step's loss."""
    steps = make_steps(loop, batch, crop)
    for _ in sys.stdin:
        print(json.dumps(take_turn(lambda: next(steps))), flush=True)


def take_turn(step: Callable[[], float]) -> dict[str, float]:
    """Do the steps of one turn; return seconds a counted step, and the loss of the first one."""
    losses = [step() for _ in range(UNCOUNTED)]
    start = time.perf_counter()
    for _ in range(COUNTED):
        step()
    return {'seconds': (time.perf_counter() - start) / COUNTED, 'loss': losses[0]}


def serve_ranks(batch: int, crop: int) -> None:
    """Do the same with a rank a core; the first one answers, the others wait for it."""
    ranks = os.cpu_count() or 1
    if batch % ranks:
        raise SystemExit(f'--batch must be a multiple of the {ranks} cores, got {batch}.')
    with tempfile.TemporaryDirectory() as folder:
        context = torch.multiprocessing.start_processes(
            _run_rank, (ranks, folder, batch, crop), nprocs=ranks - 1, join=False
        )
        _serve_first_rank(ranks, folder, batch, crop)
        context.join()


def _serve_first_rank(ranks: int, folder: str, batch: int, crop: int) -> None:
    join_ranks(0, ranks, folder)
    steps = make_steps('ours', batch, crop)
    goes_on = torch.ones(1)

    def step() -> float:
        dist.broadcast(goes_on, 0)
        loss = torch.tensor(next(steps))
        dist.all_reduce(loss)  # a step is done when all ranks have done it
        return float(loss) / ranks

    for _ in sys.stdin:
        print(json.dumps(take_turn(step)), flush=True)
    dist.broadcast(torch.zeros(1), 0)
    dist.destroy_process_group()


def _run_rank(number: int, ranks: int, folder: str, batch: int, crop: int) -> None:
    join_ranks(number + 1, ranks, folder)
    steps = make_steps('ours', batch, crop)
    goes_on = torch.ones(1)
    dist.broadcast(goes_on, 0)
    while goes_on:
        dist.all_reduce(torch.tensor(next(steps)))
        dist.broadcast(goes_on, 0)
    dist.destroy_process_group()


def join_ranks(rank: int, ranks: int, folder: str) -> None:
    """Take one core and meet the other ranks."""
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=ranks
    )


def make_steps(loop: str, batch: int, crop: int) -> Iterator[float]:
    """Return the steps of one loop, none of them done yet."""
    if loop != 'reference':
        keep_freed_memory()
    scenes = SceneSamples(4 * batch)
    for index in range(len(scenes)):
        scenes[index]  # drawing is no part of training
    samples = MixedSamples([scenes], augmentation=AugmentationSettings(crop=crop))
    torch.manual_seed(0)
    network = build_network('espnet_v2', num_classes=CLASSES, scale=2.0)
    return (reference_steps if loop == 'reference' else our_steps)(samples, batch, network)


def take_turns(turns: int, batch: int, crop: int) -> dict[str, list[dict[str, float]]]:
    """Return what the loops, in processes of their own, print for a first turn and `turns`."""
    command = [sys.executable, '-m', 'benchmarks.training.finetune_throughput']
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
        for _ in range(1 + turns):
            for name, process in loops.items():
                assert process.stdin is not None  # both are pipes
                assert process.stdout is not None
                print(file=process.stdin, flush=True)
                taken[name].append(json.loads(process.stdout.readline()))
                time.sleep(PAUSE)
        for process in loops.values():
            assert process.stdin is not None
            process.stdin.close()
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--turns', type=int, default=5, help='of each loop, after a first one')
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--crop', type=int, default=352)
    parser.add_argument('--loop', choices=LOOPS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.loop == 'ranks':
        serve_ranks(arguments.batch, arguments.crop)
        return
    if arguments.loop:
        serve(arguments.loop, arguments.batch, arguments.crop)
        return
    taken = take_turns(arguments.turns, arguments.batch, arguments.crop)
    measured = {name: [one['seconds'] for one in rows[1:]] for name, rows in taken.items()}
    ratios = {
        name: [a / b for a, b in zip(measured['reference'], measured[name], strict=True)]
        for name in LOOPS[1:]
    }
    result = {
        'seconds_a_step': {
            name: {'median': statistics.median(times), 'min': min(times), 'max': max(times)}
            for name, times in measured.items()
        },
        'first_loss': {name: rows[0]['loss'] for name, rows in taken.items()},
        'speedup': {
            name: {'median': statistics.median(one), 'min': min(one), 'max': max(one)}
            for name, one in ratios.items()
        },
        'threads': torch.get_num_threads(),
        'batch': arguments.batch,
        'crop': arguments.crop,
        'turns': arguments.turns,
        'steps_of_a_turn': COUNTED,
    }
    print(json.dumps(result, indent=1))


if __name__ == '__main__':
    main()
