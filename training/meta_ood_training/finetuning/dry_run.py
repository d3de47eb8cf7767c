"""Check data, memory and one step before hours are spent."""

from collections.abc import Iterator
import resource
import time

from meta_ood_ros.core.backends.device import resolve_device
from meta_ood_training.datasets.coco import CocoOod
from meta_ood_training.finetuning.config import FinetuneConfig
from meta_ood_training.finetuning.data.batches import (
    Batch,
    join_batches,
    RunBatches,
    TrainingSamples,
)
from meta_ood_training.finetuning.data.street import open_samples
from meta_ood_training.finetuning.loop.modes import set_modes
from meta_ood_training.finetuning.loop.module import FinetuneModule
from meta_ood_training.finetuning.loop.starting_network import open_networks
from meta_ood_training.finetuning.loop.validation import ValidationFrames
import torch

_PRECISIONS = {'bf16-mixed': torch.bfloat16, '16-mixed': torch.float16}
_STEPS = 2
"""The first step pays for memory and caches; the second is the one to extrapolate from."""


def try_one_step(config: FinetuneConfig, *, device: str = 'auto') -> str:
    """Run two steps on this process alone, and say what the whole run would take."""
    training = config.training
    if training.threads:
        torch.set_num_threads(training.threads)
    samples, allowed = open_samples(config)
    network, teacher = open_networks(config)
    batches = RunBatches(
        samples.epoch_length,
        training.epochs,
        training.batch_size,
        max_batches=training.max_steps * training.accumulate,
    )
    steps = len(batches) // training.accumulate
    lines = [
        f'street images {[len(one) for one in samples.street]}, '
        f'proxies {[len(one) for one in samples.proxies]}, objects {len(samples.objects)}',
        f'an epoch has {samples.epoch_length} samples; the run has {steps} optimizer steps of '
        f'{training.batch_size} x {training.accumulate}',
    ]
    lines += [str(one.report()) for one in samples.proxies if isinstance(one, CocoOod)]
    if config.validation is not None:
        frames = ValidationFrames(config.validation, config.data, network.stride)
        lines.append(f'validation has {len(frames)} frames')
    module = FinetuneModule(
        network,
        config,
        allowed,
        teacher=teacher,
        steps=steps,
        batches_per_epoch=batches.batches_per_epoch,
    )
    place = resolve_device(device).device
    module.to(place)
    module.on_fit_start()
    set_modes(network, training)
    is_mixed = training.precision in _PRECISIONS
    optimizer = module.configure_optimizers()['optimizer']
    for batch in _first_batches(TrainingSamples(samples, with_clean=teacher is not None), batches):
        start = _read_clock(place)
        batch = module.transfer_batch_to_device(batch, place, 0)
        with torch.autocast(place.type, _PRECISIONS.get(training.precision), is_mixed):
            loss = module.objective(batch, module.teach(batch))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        seconds = _read_clock(place) - start
    if not torch.isfinite(loss.total):
        raise ValueError(
            f'the loss of the second step must be finite, got {float(loss.total)}. '
            'Lower optimizer.learning_rate.'
        )
    peak = (
        torch.cuda.max_memory_allocated(place) / 2**30
        if place.type == 'cuda'
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    )
    lines += [
        f'l_in {float(loss.in_distribution):.3f} over {int(loss.in_distribution_pixels)} px, '
        f'l_out {float(loss.ood):.3f} over {int(loss.ood_pixels)} px',
        f'peak memory {peak:.1f} GiB on {place}',
        f'{seconds:.2f} s a step: about {seconds * len(batches) / 60:.0f} min without making '
        'samples and validation',
    ]
    return '\n'.join(lines)


def _read_clock(device: torch.device) -> float:
    """Return the time when the device has done all that it was given to do [s]."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.monotonic()


def _first_batches(samples: TrainingSamples, batches: RunBatches) -> Iterator[Batch]:
    for number, places in enumerate(batches):
        if number == _STEPS:
            return
        yield join_batches([samples[place] for place in places])
