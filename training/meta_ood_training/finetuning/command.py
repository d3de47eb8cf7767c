"""`meta-ood-train finetune`: the command line of `finetune`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:  # PyTorch, for which --help would wait
    from meta_ood_training.finetuning.config import FinetuneConfig
    from meta_ood_training.finetuning.training_run import FinetuneResult


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
    parser.add_argument('--device', default='auto', help='cpu, cuda, cuda:N or auto')
    parser.add_argument(
        '--print-config',
        action='store_true',
        help='print the whole configuration, defaults too, as YAML, and train nothing',
    )
    parser.add_argument(
        '--dry-run', action='store_true', help='check data, memory and one step, train nothing'
    )


def run(arguments: argparse.Namespace) -> int:
    """Train."""
    _find_file(arguments)
    if arguments.print_config:
        from meta_ood_training.finetuning.run_config import open_config, to_yaml

        config = open_config(arguments.config, _named(arguments.data), arguments.overrides)
        print(to_yaml(config), end='')
        return 0
    from meta_ood_training.finetuning.dry_run import try_one_step
    from meta_ood_training.finetuning.training_run import finetune, open_config
    import torch

    config = open_config(arguments.config, _named(arguments.data), arguments.overrides)
    if arguments.dry_run:
        print(try_one_step(config, device=arguments.device))
        return 0
    device = _device_options(arguments.device)
    if arguments.device == 'auto' and torch.cuda.device_count() > int(
        os.environ.get('LOCAL_WORLD_SIZE', 1)
    ):
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
        **device,
    )
    if int(os.environ.get('RANK', 0)) == 0:
        print(describe(result, is_validated=config.validation is not None))
    return 0


def describe(result: FinetuneResult, *, is_validated: bool) -> str:
    """Return what came out, and which weights to take, in a line."""
    trained = f'trained for {result.minutes:.1f} min'
    best = result.best
    if best is not None:
        found = (
            f'best at step {result.best_step}: AP {best.average_precision:.3f}, '
            f'FPR95 {best.fpr95:.3f}, mIoU {best.mean_iou:.3f}; weights in {result.best_weights}'
        )
    elif is_validated:
        found = (
            f'no best.pth: every validation lost more mIoU than validation.mean_iou_loss allows; '
            f'weights of the last step in {result.weights}'
        )
    else:
        found = f'no best.pth: nothing was validated; weights of the last step in {result.weights}'
    return f'{trained}, {found}; curves in {result.figure}'


def _find_file(arguments: argparse.Namespace) -> None:
    """Let overrides stand before the file, too: it is the one word that is no key=value."""
    words = [str(arguments.config), *arguments.overrides]
    files = [word for word in words if '=' not in word or Path(word).is_file()]
    if len(files) == 1 and files[0] != words[0]:
        words.remove(files[0])
        arguments.config, arguments.overrides = Path(files[0]), words


def _device_options(name: str) -> dict[str, Any]:
    """Return the options of Lightning's trainer for a device; none for `auto`."""
    from meta_ood_ros.core.backends.device import resolve_device

    if name == 'auto':
        return {}
    device = resolve_device(name).device
    if device.type not in ('cpu', 'cuda'):
        raise ValueError(f'--device must be auto, cpu, cuda or cuda:N for training, got {name!r}.')
    if device.type == 'cpu':
        return {'accelerator': 'cpu'}
    if ':' in name and int(os.environ.get('WORLD_SIZE', 1)) > 1:
        raise ValueError(
            f'--device must be cuda for several ranks, got {name!r}: each takes the GPU of its '
            'own number. Choose among them with CUDA_VISIBLE_DEVICES.'
        )
    return {'accelerator': 'gpu', **({'devices': [device.index]} if ':' in name else {})}


def _named(given: list[str]) -> dict[str, str]:
    named = {}
    for one in given:
        name, equals, place = one.partition('=')
        if not name or not equals or not place:
            raise ValueError(f'--data must be NAME=PATH, got {one!r}.')
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
