"""What a run trained beside its network -> a file in the directory of the bundle."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meta_ood_ros.core.bundle import Bundle
from meta_ood_training.bundles.checkpoints import Checkpoint
from meta_ood_training.finetuning.config_reader import ConfigError
from meta_ood_training.heads.beside import HeadSettings
from meta_ood_training.heads.head_file import HEAD_FILE, save_head, TrainedHead


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


def write_head(checkpoint: Checkpoint, bundle: Bundle, output: Path) -> None:
    """Put what the run trained beside the network into the bundle's directory, or clear it."""
    objective = _objective(checkpoint)
    kind = objective.get('kind', 'entropy_maximization')
    if kind == 'entropy_maximization':
        (output / HEAD_FILE).unlink(missing_ok=True)  # of the bundle that was replaced
        return
    described = objective['head']
    settings = None
    if described is not None:
        settings = HeadSettings(tuple(described['inputs']), described['hidden'])
    weights = checkpoint.facts.get('head', {})
    save_head(output / HEAD_FILE, TrainedHead(kind, settings, weights, bundle.network_sha256))
