"""
`finetune`: config + data -> a network that is uncertain on OoD objects.

Read in order: `config` (what a run is made of), `data.street`, `loop.module` (a step),
`loop.checkpoints` (what is kept).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
import json
import logging
import os
from pathlib import Path
import time
from typing import Any
import warnings

import lightning
from meta_ood_ros.core.files.whole_files import remove_leftovers, write_whole
from meta_ood_ros.core.kernels.memory import keep_freed_memory
from meta_ood_training.finetuning.config import FinetuneConfig
from meta_ood_training.finetuning.config_reader import ConfigError
from meta_ood_training.finetuning.data.batches import RunBatches, TrainingSamples
from meta_ood_training.finetuning.data.loaders import make_training_loader, make_validation_loader
from meta_ood_training.finetuning.data.street import open_samples
from meta_ood_training.finetuning.loop.checkpoints import (
    BEST_FILE,
    KeepCheckpoints,
    LAST_FILE,
    RESUME_FILE,
    RUN_FILES,
    WholeFiles,
)
from meta_ood_training.finetuning.loop.csv_rows import LOG_FILES
from meta_ood_training.finetuning.loop.curves import FIGURE_FILE
from meta_ood_training.finetuning.loop.modes import depends_on_ranks
from meta_ood_training.finetuning.loop.module import FinetuneModule
from meta_ood_training.finetuning.loop.run_log import RunLog
from meta_ood_training.finetuning.loop.starting_network import open_networks
from meta_ood_training.finetuning.loop.validation import Scores, ValidationFrames
from meta_ood_training.finetuning.run_config import open_config
from meta_ood_training.output_places import hold_folder
from meta_ood_training.provenance.revision import machine, source_revision
import torch

CONFIG_FILE = 'config.json'


@dataclass(frozen=True, repr=False)
class FinetuneResult:
    """
    What a run has left.

    Attributes
    ----------
    output : Path
        The run folder: weights, resume point, log, config.
    weights : Path
        Those of the last step.
    best_weights : Path or None
        Those of the best validation; None without validation.
    best, last : Scores or None
        AP, FPR95, AUROC, prevalence and mean IoU of the best and the last validation.
    best_step : int
        When `best` was.
    figure : Path
        Curves of losses and scores.
    minutes : float
        How long this process trained.

    """

    output: Path
    weights: Path
    best_weights: Path | None
    best: Scores | None
    best_step: int
    last: Scores | None
    figure: Path
    minutes: float

    def __repr__(self) -> str:
        """Return the best scores and where the weights lie, in a line."""
        said = 'not validated'
        if self.best is not None:
            said = (
                f'best AP {self.best.average_precision:.3f}, mIoU {self.best.mean_iou:.3f} '
                f'at step {self.best_step}'
            )
        return f'FinetuneResult({said}, {self.minutes:.1f} min, in {self.output})'


def finetune(
    config: FinetuneConfig | str | Path,
    output: str | Path,
    *,
    data: Mapping[str, str | Path] | None = None,
    overrides: Sequence[str] = (),
    resume: bool | str | Path | None = False,
    progress: bool = False,
    command: str = '',
    **trainer_options: Any,
) -> FinetuneResult:
    """
    Fine-tune a network for high entropy on OoD objects, alone or as one of several ranks.

    Parameters
    ----------
    config : FinetuneConfig, str or Path
        The record, or a YAML file such as config/finetune_espnet_v2.yaml.
    output : str or Path
        The run folder; it must not hold a run yet, unless this one goes on with it.
    data : mapping of str to str or Path, optional
        Where named data lie, in addition to those of the config.
    overrides : sequence of str
        `key=value` for a config that is a file: 'optimizer.learning_rate=1e-4'.
    resume : bool, str or Path
        True goes on with the run in `output`; a path names its resume point.
    progress : bool
        Whether Lightning shows its bar.
    command : str
        What the weights state as the command that made them.
    **trainer_options
        Of `lightning.Trainer`.

    Returns
    -------
    FinetuneResult
        Scores, weights and figure.

    Raises
    ------
    ConfigError
        A ValueError: config or data are wrong, the folder holds a run, or there is none to resume.

    Notes
    -----
    To Lightning the whole run is one epoch, so that there is only one kind of resuming: in the
    middle of an epoch. Epochs, as `mixing` means them, are known to `RunBatches`. There are as
    many ranks as torchrun started, else one: what Lightning itself would start does not know its
    number before the samples are dealt.

    """
    config, output, start = open_config(config, data, overrides), Path(output), time.monotonic()
    with hold_folder(output, is_ours=int(os.environ.get('RANK', 0)) == 0):
        point = _resume_point(output, resume)
        keeper = _train(
            config,
            output,
            resume=point,
            command=command or 'meta_ood_training.finetune',
            **{
                'enable_progress_bar': progress,
                'enable_model_summary': False,
                **trainer_options,
            },
        )
    return FinetuneResult(
        output=output,
        weights=output / LAST_FILE,
        best_weights=None if keeper.best is None else output / BEST_FILE,
        best=keeper.best,
        best_step=keeper.best_step,
        last=keeper.last,
        figure=output / FIGURE_FILE,
        minutes=(time.monotonic() - start) / 60,
    )


def _resume_point(output: Path, resume: bool | str | Path | None) -> Path | None:
    """Return where to go on, or refuse a folder that does not allow what is wanted."""
    point = output / RESUME_FILE
    if resume:
        point = point if resume is True else Path(resume)
        if not point.is_file():
            raise ConfigError(f'--resume needs {point}, got no such file. Start without --resume.')
        return point
    held = [name for name in RUN_FILES if (output / name).is_file()]
    if held:
        raise ConfigError(
            f'output must be a new folder, got {output}, which holds a run ({", ".join(held)}). '
            + ('Add --resume, or choose another.' if point.is_file() else 'Choose another.')
        )
    return None


def _train(
    config: FinetuneConfig,
    output: Path,
    *,
    resume: Path | None,
    command: str,
    **trainer_options: Any,
) -> KeepCheckpoints:
    keep_freed_memory()
    for name in ('lightning.pytorch', 'lightning.fabric'):  # they advertise their makers' products
        logging.getLogger(name).setLevel(logging.WARNING)
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
    on_gpu = torch.cuda.is_available() and trainer_options.get('accelerator') != 'cpu'
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
        'deterministic': False if on_gpu else 'warn',
        'benchmark': on_gpu,
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
