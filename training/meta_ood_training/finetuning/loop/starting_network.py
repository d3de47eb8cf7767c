"""Config -> the network with the weights that training starts from."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.networks import (
    build_network,
    cityscapes_19,
    load_checkpoint,
    load_weights,
    OodNetwork,
)
from meta_ood_training.finetuning.config import FinetuneConfig, NetworkConfig
from meta_ood_training.finetuning.config_reader import ConfigError
from meta_ood_training.heads.beside import head_kind, NetworkWithHead
import torch
from torch import Tensor

PUBLISHED_HEAD = 'bu_dec_l4.merge_layer.3.weight'
"""Last layer of the published ESPNetv2, which has a 20th output for unlabelled pixels."""


def find_data(name: str, data: Mapping[str, str], *, use: str, makes: bool = False) -> Path:
    """Return the path that a name of the configuration stands for; `makes` a missing folder."""
    if name not in data:
        raise ConfigError(
            f'{use} needs the data {name!r}, got {", ".join(sorted(data)) or "none"}. '
            f'Add --data {name}=PATH.'
        )
    path = Path(data[name]).expanduser()
    if makes:
        if path.exists() and not path.is_dir():
            raise ConfigError(
                f'data {name} must be a folder to keep things in, got the file {str(path)!r} '
                f'({use}). Choose another.'
            )
        path.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        raise ConfigError(f'data {name} must exist, got {str(path)!r}, which does not ({use}).')
    return path


def read_weights(path: Path, architecture: str, num_classes: int) -> dict[str, Tensor]:
    """
    Return the weights of a checkpoint, or of a bundle, for a network of this architecture.

    Parameters
    ----------
    path : Path
        A `.pth` file (published, or written by `finetune`), or the directory of a bundle.

    """
    if path.is_dir():
        return dict(load_bundle(path).build_network().state_dict())
    weights = load_checkpoint(path)
    if architecture == 'espnet_v2' and num_classes == 19:
        head = weights.get(PUBLISHED_HEAD)
        if head is not None and head.shape[0] == 20:
            return cityscapes_19(weights)
    return weights


def class_weights_of(network: OodNetwork, config: NetworkConfig) -> set[str]:
    """Return the names of the weights whose shape depends on the number of classes."""
    one_more = build_network(
        config.architecture, num_classes=config.num_classes + 1, **config.arguments
    ).state_dict()
    own = network.state_dict().items()
    return {name for name, value in own if value.shape != one_more[name].shape}


def without_head(
    weights: Mapping[str, Tensor], network: OodNetwork, config: NetworkConfig
) -> dict[str, Tensor]:
    """Return weights with those of a network in the place of all that depend on its classes."""
    own = network.state_dict()
    depends = class_weights_of(network, config)
    kept = {
        name: value for name, value in network.own_names(weights).items() if name not in depends
    }
    return {**kept, **{name: own[name] for name in depends}}


def open_network(config: NetworkConfig, data: Mapping[str, str]) -> OodNetwork:
    """Return a network ready to train or to teach."""
    network = build_network(
        config.architecture, num_classes=config.num_classes, **config.arguments
    )
    if config.weights:
        path = find_data(config.weights, data, use='network.weights')
        weights = read_weights(path, config.architecture, config.num_classes)
        weights = _with_own_outliers(weights, network, str(path))
        if config.new_head:
            weights = without_head(weights, network, config)
        load_weights(network, weights, source=str(path))
    return network


def _with_own_outliers(
    weights: Mapping[str, Tensor], network: OodNetwork, source: str
) -> dict[str, Tensor]:
    """
    Return weights without a decoder for outliers where the network has none.

    One of other maps or another width is refused by what names them.
    """
    given, own = (
        {name: one.shape for name, one in values.items() if name.startswith('outlier.')}
        for values in (weights, network.state_dict())
    )
    if own and given and given != own:
        raise ValueError(
            f'network.arguments must be those of the decoder for outliers in {source}, got '
            'others: it has other maps or another width. Copy the arguments of its bundle.yaml '
            '(outlier_channels, outlier_strides), or leave these out to start without it.'
        )
    return {name: one for name, one in weights.items() if own or name not in given}


def open_student(config: FinetuneConfig) -> OodNetwork:
    """Return the network to train, with the head that its objective wants."""
    network = open_network(config.network, config.data)
    if config.network.head_scale != 1:
        values = network.state_dict()
        with torch.no_grad():
            for name in class_weights_of(network, config.network):
                values[name].mul_(config.network.head_scale)
    head = config.objective.head
    if head is None:
        return network
    return NetworkWithHead(network, head_kind(config.objective.kind), head)


def open_networks(config: FinetuneConfig) -> tuple[OodNetwork, OodNetwork | None]:
    """Return the network to train, and its teacher."""
    network = open_student(config)
    if all(street.targets == 'labels' for street in config.street):
        return network, None
    described = config.objective.teacher_architecture or config.network
    if described.num_classes != config.network.num_classes:
        raise ConfigError(
            f'a teacher must have the {config.network.num_classes} classes of the network, got '
            f'{described.num_classes}. Correct objective.teacher_architecture.num_classes, or '
            'take another teacher.'
        )
    weights = config.objective.teacher or described.weights
    if not weights:
        raise ConfigError(
            'a teacher needs trained weights, got none: network.weights and objective.teacher '
            'are both empty. Name one, or set targets: labels.'
        )
    return network, open_network(replace(described, weights=weights), config.data)
