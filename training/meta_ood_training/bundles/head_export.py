"""What a run trained beside its network -> a file in the directory of the bundle, or within it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.networks import NETWORK_BUILDERS
from meta_ood_training.bundles.checkpoints import Checkpoint
from meta_ood_training.finetuning.config import NetworkConfig
from meta_ood_training.finetuning.config_reader import ConfigError
from meta_ood_training.heads.beside import HeadSettings
from meta_ood_training.heads.head_file import HEAD_FILE, save_head, TrainedHead
from torch import Tensor


def refuse_average_of_heads(checkpoints: Sequence[Checkpoint], start: str | Path | None) -> None:
    """Refuse the mean of weights of which one part would be left out."""
    kinds = {_objective(one).get('kind', 'entropy_maximization') for one in checkpoints}
    averaged = len(checkpoints) > 1 or start is not None
    if averaged and kinds != {'entropy_maximization'}:
        raise ConfigError(
            f'weights are averaged over runs of entropy maximization, got {", ".join(kinds)}: '
            'a head belongs to the weights that it was trained with. Give one checkpoint alone.'
        )


def _objective(checkpoint: Checkpoint) -> Mapping[str, Any]:
    stated: Mapping[str, Any] = checkpoint.facts['config']['objective'] if checkpoint.facts else {}
    return stated


def with_outlier_decoder(
    network: NetworkConfig, weights: Mapping[str, Tensor], checkpoint: Checkpoint
) -> tuple[NetworkConfig, dict[str, Tensor]]:
    """Return network and weights with the outlier head of a run as a decoder of the network."""
    objective = _objective(checkpoint)
    described = objective.get('head') or {}
    kind = objective.get('kind', 'entropy_maximization')
    architecture = NETWORK_BUILDERS[network.architecture]
    wanted = getattr(architecture, 'outlier_inputs', ())
    found = tuple(described.get('inputs', ()))
    ask = getattr(architecture, 'outlier_arguments', lambda *_: None)
    further = ask(found, network.arguments)
    if kind != 'outlier_head' or further is None:
        places = ', '.join(wanted) or 'no place for it in this architecture'
        raise ConfigError(
            f'--mix-head needs the run of an outlier_head on what the decoder of '
            f'{network.architecture} looks at ({places}), got {kind} on '
            f'{", ".join(found) or "nothing"}. Train with these head.inputs, or leave it out.'
        )
    arguments = {
        **network.arguments,
        'outlier_channels': described['hidden'],
        **further,
    }
    head = {f'outlier.{name}': value for name, value in checkpoint.facts['head'].items()}
    return replace(network, arguments=arguments), {**weights, **head}


def write_head(
    checkpoint: Checkpoint, bundle: Bundle, output: Path, *, is_mixed: bool = False
) -> None:
    """Put what the run trained beside the network into the bundle's directory, or clear it."""
    objective = _objective(checkpoint)
    kind = objective.get('kind', 'entropy_maximization')
    if kind == 'entropy_maximization' or is_mixed:
        (output / HEAD_FILE).unlink(missing_ok=True)  # of the bundle that was replaced
        return
    described = objective['head']
    settings = None
    if described is not None:
        settings = HeadSettings(tuple(described['inputs']), described['hidden'])
    weights = checkpoint.facts.get('head', {})
    save_head(output / HEAD_FILE, TrainedHead(kind, settings, weights, bundle.network_sha256))
