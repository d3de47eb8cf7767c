"""`meta-ood-train finetune`: the command line of `finetune`."""

import argparse
import os
from pathlib import Path

from meta_ood_training.finetuning.config import FinetuneConfig
from meta_ood_training.finetuning.config_reader import ConfigError
from meta_ood_training.finetuning.dry_run import try_one_step
from meta_ood_training.finetuning.training_run import finetune, open_config
import torch


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
    config = open_config(arguments.config, _named(arguments.data), arguments.overrides)
    if arguments.dry_run:
        print(try_one_step(config))
        return 0
    if torch.cuda.device_count() > int(os.environ.get('LOCAL_WORLD_SIZE', 1)):
        print(
            f'{torch.cuda.device_count()} GPUs are here. To use them all: torchrun '
            f'--nproc-per-node {torch.cuda.device_count()} -m meta_ood_training.cli finetune ...'
        )
    result = finetune(
        config,
        arguments.output,
        resume=arguments.resume,
        progress=True,
        command=_command(arguments, config),
    )
    print(f'Trained for {result.minutes:.1f} min; weights in {result.weights}.')
    if result.best_weights is not None:
        print(f'Best: {result.best_weights} of step {result.best_step}: {result.best}.')
    print(f'Curves in {result.figure}. Next: meta-ood-train bundle')
    return 0


def _named(given: list[str]) -> dict[str, str]:
    named = {}
    for one in given:
        name, equals, place = one.partition('=')
        if not name or not equals or not place:
            raise ConfigError(f'--data must be NAME=PATH, got {one!r}.')
        named[name] = place
    return named


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
