"""`meta-ood-train bundle`: a checkpoint -> a bundle that says where its weights come from."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone
import json
from pathlib import Path
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import save_bundle
from meta_ood_ros.core.classes import CITYSCAPES_COLORS, CITYSCAPES_NAMES
from meta_ood_ros.core.image import to_network_input
from meta_ood_ros.core.networks import (
    load_checkpoint,
    load_weights,
    NETWORK_NAMES,
    OodNetwork,
)
from meta_ood_ros.core.uncertainty import normalized_entropy
from meta_ood_ros.scenes import render_scene
from meta_ood_training.finetuning.config import NetworkConfig
from meta_ood_training.finetuning.config_reader import ConfigError, read_value
from meta_ood_training.finetuning.loop.starting_network import open_network, read_weights
from meta_ood_training.finetuning.loop_config import BundleConfig
from meta_ood_training.provenance.revision import source_revision
import torch
from torch import Tensor

LARGEST_HALF_DIFFERENCE = 0.01
"""Entropy that storing weights in float16 may change anywhere on a scene [share of log C]."""
_HALF_SEED = 3


@dataclass(frozen=True)
class Checkpoint:
    """
    Weights with what their file says about itself.

    Attributes
    ----------
    facts : mapping of str
        What `finetune` wrote beside it; empty for a published file.

    """

    weights: dict[str, Tensor]
    facts: Mapping[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument('--checkpoint', type=Path, required=True, help='of finetune, or published')
    parser.add_argument('--output', type=Path, required=True, help='directory of the bundle')
    parser.add_argument('--name', help='of the bundle; default as the run says, or the directory')
    parser.add_argument(
        '--architecture', choices=NETWORK_NAMES, help='for a checkpoint that does not say'
    )
    parser.add_argument(
        '--argument',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        help='of the architecture, such as scale=2.0',
    )
    parser.add_argument('--entropy-threshold', type=float, help='in (0, 1]; default as the run')
    parser.add_argument('--work-short-side', type=int, help='px; default as the run')
    parser.add_argument('--licence', help='of the weights; default as the run says')
    parser.add_argument('--data-terms', help='terms of the training data; default as the run says')
    parser.add_argument(
        '--scores', type=Path, action='append', default=[], metavar='JSON', help='to state in it'
    )
    parser.add_argument(
        '--half', action='store_true', help='store float16, if that changes no entropy by 0.01'
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the bundle."""
    checkpoint = open_checkpoint(arguments.checkpoint)
    network_config = _describe_network(arguments, checkpoint)
    if network_config.num_classes != len(CITYSCAPES_NAMES):
        raise ConfigError(
            f'a bundle made by this verb must have the {len(CITYSCAPES_NAMES)} Cityscapes '
            f'classes, got a network of {network_config.num_classes}, whose names the checkpoint '
            'does not tell. Write its bundle with save_bundle of meta_ood_ros.core.'
        )
    described = _describe_bundle(arguments, checkpoint)
    weights = read_weights(
        arguments.checkpoint, network_config.architecture, network_config.num_classes
    )
    network = open_network(replace(network_config, weights=''), {})
    load_weights(network, weights, source=str(arguments.checkpoint))
    stored = {key: value.contiguous() for key, value in network.state_dict().items()}
    if arguments.half:
        difference = half_difference(network)
        if not difference <= LARGEST_HALF_DIFFERENCE:  # NaN is not smaller either
            raise ConfigError(
                f'--half must not change an entropy by more than {LARGEST_HALF_DIFFERENCE}, got '
                f'{difference:.4f}. Leave it out: the bundle is then twice as large.'
            )
        print(f'float16 weights change no entropy of a scene by more than {difference:.1e}')
        stored = to_half(stored)
    bundle = save_bundle(
        Bundle(
            name=described.name,
            architecture=network_config.architecture,
            arguments=dict(network_config.arguments),
            input_mean=network.input_mean,
            input_std=network.input_std,
            class_names=CITYSCAPES_NAMES,
            class_colors=CITYSCAPES_COLORS,
            entropy_threshold=described.entropy_threshold,
            work_short_side=described.work_short_side,
            min_size_px=described.min_size_px,
            provenance=describe_origin(checkpoint, arguments.scores),
            licence_of_weights=described.licence_of_weights,
            data_terms=described.data_terms,
            weights=stored,
        ),
        arguments.output,
    )
    size = sum(path.stat().st_size for path in arguments.output.iterdir()) / 1e6
    print(f'{bundle.model_id} in {arguments.output}, {size:.1f} MB. Next: meta-ood-train fit-meta')
    return 0


def open_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint with what it says about itself."""
    if not path.is_file():
        raise ConfigError(
            f'--checkpoint must be a file, got {str(path)!r}, which is none. '
            'finetune writes best.pth and final.pth.'
        )
    try:
        record = torch.load(path, map_location='cpu', weights_only=True)
    except Exception:  # torch raises errors of many types here; what it means is seen next
        # A published file may hold numbers that only load_checkpoint admits. What not even that
        # can read is damaged, and its error says so.
        load_checkpoint(path)
        return Checkpoint({}, {})
    if not isinstance(record, Mapping) or 'state_dict' not in record:
        return Checkpoint({}, {})
    facts = {key: value for key, value in record.items() if key != 'state_dict'}
    return Checkpoint(dict(record['state_dict']), facts if 'network' in facts else {})


def describe_origin(checkpoint: Checkpoint, scores: list[Path]) -> dict[str, Any]:
    """Return the provenance of a bundle."""
    facts = checkpoint.facts
    origin: dict[str, Any] = {'made': datetime.now(timezone.utc).date().isoformat()}
    if facts:
        config = facts['config']
        origin |= {
            'command': facts['command'],
            'revision': facts['revision'],
            'seed': config['training']['seed'],
            'step': facts['step'],
            'start': config['network']['weights'] or 'random weights',
            'data': list(config['data']),
            'machine': facts['machine'],
            **({'resumed': facts['resumed']} if 'resumed' in facts else {}),
            'validation_before': _rounded(facts['start_scores']),
            'validation': _rounded(facts['scores']),
        }
    else:
        origin |= {'command': 'converted as published', 'revision': source_revision()}
    for path in scores:
        origin.setdefault('scores', {})[path.stem] = json.loads(path.read_text(encoding='utf-8'))
    return origin


def to_half(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights in float16."""
    largest = torch.finfo(torch.float16).max
    return {
        key: value.half()
        if value.is_floating_point() and not bool((value.abs() > largest).any())
        else value
        for key, value in weights.items()
    }


def half_difference(network: OodNetwork) -> float:
    """Return by how much storing float16 changes the entropy of one scene at most."""
    image = render_scene(_HALF_SEED, size=(16 * network.stride, 32 * network.stride)).image
    x = to_network_input(image, mean=network.input_mean, std=network.input_std)
    kept = {key: value.clone() for key, value in network.state_dict().items()}
    network.eval()
    with torch.inference_mode():
        exact = normalized_entropy(network(x), dim=1)
        rounded = {key: value.to(kept[key].dtype) for key, value in to_half(kept).items()}
        network.load_state_dict(rounded)
        stored = normalized_entropy(network(x), dim=1)
    network.load_state_dict(kept)
    return float((exact - stored).abs().max())


def _describe_network(arguments: argparse.Namespace, checkpoint: Checkpoint) -> NetworkConfig:
    if checkpoint.facts:
        return NetworkConfig(**checkpoint.facts['network'])
    if not arguments.architecture:
        raise ConfigError(
            f'{arguments.checkpoint} does not say which network it belongs to. '
            f'Add --architecture, one of {", ".join(NETWORK_NAMES)}.'
        )
    values = {}
    for one in arguments.argument:
        key, _, text = one.partition('=')
        values[key] = read_value(text, one) if text else None
    return NetworkConfig(arguments.architecture, values, len(CITYSCAPES_NAMES))


def _describe_bundle(arguments: argparse.Namespace, checkpoint: Checkpoint) -> BundleConfig:
    stated = checkpoint.facts['config']['bundle'] if checkpoint.facts else {}
    known = {one.name for one in fields(BundleConfig)}
    described = BundleConfig(**{key: value for key, value in stated.items() if key in known})
    given = {
        'name': arguments.name or described.name or arguments.output.name,
        'entropy_threshold': arguments.entropy_threshold,
        'work_short_side': arguments.work_short_side,
        'licence_of_weights': arguments.licence,
        'data_terms': arguments.data_terms,
    }
    described = replace(
        described, **{key: value for key, value in given.items() if value is not None}
    )
    if not described.licence_of_weights:
        raise ConfigError('a bundle must state the licence of its weights. Add --licence.')
    return described


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {key: round(float(value), 4) for key, value in scores.items()}
