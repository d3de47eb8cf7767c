"""
`meta-ood-train finetune`: config + data -> a network that is uncertain on OoD objects.

Read in order: `training_config` (what a run is made of), `trainer.street` (data),
`trainer.module` (a step), `trainer.checkpoints` (what is kept).
"""

import argparse
from dataclasses import asdict, replace
import json
import os
from pathlib import Path
import time
from typing import Any
import warnings

import lightning
from meta_ood_ros.core.kernels.memory import keep_freed_memory
from meta_ood_ros.core.whole_files import remove_leftovers, write_whole
from meta_ood_training.finetuning.config import FinetuneConfig
from meta_ood_training.finetuning.config_reader import ConfigError, read_config
from meta_ood_training.finetuning.data.batches import RunBatches, TrainingSamples
from meta_ood_training.finetuning.data.loaders import make_training_loader, make_validation_loader
from meta_ood_training.finetuning.data.street import open_samples
from meta_ood_training.finetuning.dry_run import try_one_step
from meta_ood_training.finetuning.loop.checkpoints import (
    BEST_FILE,
    KeepCheckpoints,
    LAST_FILE,
    RESUME_FILE,
    RUN_FILES,
    WholeFiles,
)
from meta_ood_training.finetuning.loop.modes import depends_on_ranks
from meta_ood_training.finetuning.loop.module import FinetuneModule
from meta_ood_training.finetuning.loop.run_log import FIGURE_FILE, LOG_FILES, RunLog
from meta_ood_training.finetuning.loop.starting_network import open_networks
from meta_ood_training.finetuning.loop.validation import ValidationFrames
from meta_ood_training.provenance.revision import machine, source_revision
import torch

CONFIG_FILE = 'config.json'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument('config', type=Path, help='a YAML file such as config/finetune_*.yaml')
    parser.add_argument(
        'overrides', nargs='*', metavar='key=value', help='optimizer.learning_rate=1e-4 ...'
    )
    parser.add_argument(
        '--data', action='append', default=[], metavar='NAME=PATH', help='where named data lie'
    )
    parser.add_argument('--output', type=Path, default=Path('runs/finetune'), help='run folder')
    parser.add_argument(
        '--resume', action='store_true', help='go on with a killed run in --output'
    )
    parser.add_argument(
        '--dry-run', action='store_true', help='check data, memory and one step, train nothing'
    )


def run(arguments: argparse.Namespace) -> int:
    """Train."""
    config = open_config(arguments.config, arguments.data, arguments.overrides)
    output: Path = arguments.output
    if arguments.dry_run:
        print(try_one_step(config))
        return 0
    resume = output / RESUME_FILE
    if arguments.resume and not resume.is_file():
        raise ConfigError(f'--resume needs {resume}, got no such file. Start without --resume.')
    held = [name for name in RUN_FILES if (output / name).is_file()]
    if not arguments.resume and held:
        raise ConfigError(
            f'output must be a new folder, got {output}, which holds a run ({", ".join(held)}). '
            + ('Add --resume, or choose another.' if resume.is_file() else 'Choose another.')
        )
    if torch.cuda.device_count() > int(os.environ.get('LOCAL_WORLD_SIZE', 1)):
        print(
            f'{torch.cuda.device_count()} GPUs are here. To use them all: torchrun '
            f'--nproc-per-node {torch.cuda.device_count()} -m meta_ood_training.cli finetune ...'
        )
    start = time.monotonic()
    keeper = finetune(
        config,
        output,
        resume=resume if arguments.resume else None,
        command=_command(arguments, config),
    )
    minutes = (time.monotonic() - start) / 60
    print(f'Trained for {minutes:.1f} min; weights in {output / LAST_FILE}.')
    if keeper.best is not None:
        print(f'Best: {output / BEST_FILE} of step {keeper.best_step}: {keeper.best}.')
    print(f'Curves in {output / FIGURE_FILE}. Next: meta-ood-train bundle')
    return 0


def open_config(path: Path, data: list[str], overrides: list[str]) -> FinetuneConfig:
    """Return the configuration of a run."""
    config = read_config(FinetuneConfig, path, overrides)
    named = dict(config.data)
    for one in data:
        name, equals, place = one.partition('=')
        if not name or not equals or not place:
            raise ConfigError(f'--data must be NAME=PATH, got {one!r}.')
        named[name] = place
    return replace(config, data=named)


def finetune(
    config: FinetuneConfig,
    output: Path,
    *,
    resume: Path | None = None,
    command: str = '',
    **trainer_options: Any,
) -> KeepCheckpoints:
    """
    Run a training, alone or as one of several ranks.

    Notes
    -----
    To Lightning the whole run is one epoch, so that there is only one kind of resuming: in the
    middle of an epoch. Epochs, as `mixing` means them, are known to `RunBatches`. There are as
    many ranks as torchrun started, else one: what Lightning itself would start does not know its
    number before the samples are dealt.

    """
    keep_freed_memory()
    # else all new memory is filled with NaN first: an eighth of a step
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    training = config.training
    if training.threads:
        torch.set_num_threads(training.threads)
    lightning.seed_everything(training.seed, verbose=False)
    output.mkdir(parents=True, exist_ok=True)
    samples, allowed = open_samples(config)
    network, teacher = open_networks(config)
    rank, world = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
    batches = RunBatches(
        samples.epoch_length,
        training.epochs,
        training.batch_size,
        rank=rank,
        world_size=world,
        max_batches=training.max_steps * training.accumulate,
    )
    module = FinetuneModule(
        network,
        config,
        allowed,
        teacher=teacher,
        steps=len(batches) // training.accumulate,
        batches_per_epoch=batches.batches_per_epoch,
    )
    keeper = KeepCheckpoints(
        output,
        every_steps=training.resume_steps,
        mean_iou_loss=config.validation.mean_iou_loss if config.validation else 1.0,
        patience=config.validation.patience if config.validation else 0,
        facts=run_facts(config, command),
        world_size=world,
        fixed_ranks=depends_on_ranks(network, training),
        epoch_length=samples.epoch_length,
    )
    if resume is not None:
        keeper.check_resumable(resume)
    frames = None
    every = batches.batches_per_epoch
    if config.validation is not None:
        frames = ValidationFrames(config.validation, config.data, network.stride)
        every = config.validation.every_steps * training.accumulate or every
    if rank == 0:
        for name in (*RUN_FILES, *LOG_FILES, FIGURE_FILE):
            remove_leftovers(output, name)
        write_whole(output / CONFIG_FILE, json.dumps(asdict(config), indent=1))
    on_host = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    options: dict[str, Any] = {
        'accelerator': 'auto',
        'devices': on_host,
        'num_nodes': world // on_host,
        'precision': training.precision,
        'max_epochs': 1,
        'accumulate_grad_batches': training.accumulate,
        'gradient_clip_val': config.optimizer.clip_norm or None,
        'sync_batchnorm': training.sync_batch_norm,
        'val_check_interval': min(every, len(batches)) if frames else None,
        'limit_val_batches': None if frames else 0,
        'num_sanity_val_steps': -1 if frames else 0,
        'use_distributed_sampler': False,
        'enable_checkpointing': False,
        'logger': False,
        'plugins': [WholeFiles()],
        # The log first: a row is written before the resume point that counts it as done.
        'callbacks': [RunLog(output), keeper],
        # On a GPU the deterministic gradient of bilinear upsampling sorts every pixel of every
        # class: with it 500 small steps did not end in three minutes.
        'deterministic': False if torch.cuda.is_available() else 'warn',
        'benchmark': torch.cuda.is_available(),
        'default_root_dir': output,
    }
    if world > 1:
        # The published ESPNetv2 has parameters that its forward pass does not use.
        options['strategy'] = 'ddp_find_unused_parameters_true'
    options.update(trainer_options)
    trainer = lightning.Trainer(**options)
    batches.resume_from(lambda: trainer.fit_loop.epoch_loop.batch_progress.current.ready)
    loader = make_training_loader(
        TrainingSamples(samples, with_clean=teacher is not None),
        batches,
        workers=training.workers,
    )
    # RunBatches goes on where the run stood, which Lightning cannot know of a plain loader.
    warnings.filterwarnings('ignore', message='.*your dataloader is not resumable.*')
    warnings.filterwarnings('ignore', message='.*but have no `val_dataloader`.*')
    trainer.fit(
        module,
        loader,
        None if frames is None else make_validation_loader(frames, rank, world),
        ckpt_path=None if resume is None else str(resume),
        weights_only=False,
    )
    return keeper


def run_facts(config: FinetuneConfig, command: str) -> dict[str, Any]:
    """Return what a bundle states about where its weights come from."""
    names = asdict(config)
    # Paths belong to one machine; the names of the data are what a reader can follow.
    names['data'] = sorted(config.data)
    return {
        'config': json.loads(json.dumps(names)),
        'command': command,
        'revision': source_revision(),
        'network': asdict(config.network),
        'machine': machine(),
    }


def _command(arguments: argparse.Namespace, config: FinetuneConfig) -> str:
    named = [f'--data {name}=<{name}>' for name in sorted(config.data)]
    place = arguments.config
    place = Path(place.parent.name) / place.name
    ranks = int(os.environ.get('WORLD_SIZE', 1))
    on_host = int(os.environ.get('LOCAL_WORLD_SIZE', ranks))
    program = 'meta-ood-train'
    if ranks > 1:
        hosts = f'--nnodes {ranks // on_host} ' if ranks > on_host else ''
        program = f'torchrun {hosts}--nproc-per-node {on_host} -m meta_ood_training.cli'
    return ' '.join([f'{program} finetune', str(place), *arguments.overrides, *named])
