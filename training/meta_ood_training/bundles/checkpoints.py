"""Checkpoints -> weights for a bundle: of one run or the mean of several, in half precision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meta_ood_ros.core.image import to_network_input
from meta_ood_ros.core.networks import load_checkpoint, OodNetwork
from meta_ood_ros.core.uncertainty import normalized_entropy
from meta_ood_ros.scenes import render_scene
from meta_ood_training.finetuning.config import NetworkConfig
from meta_ood_training.finetuning.config_reader import ConfigError
from meta_ood_training.finetuning.loop.checkpoints import BEST_FILE, LAST_FILE
from meta_ood_training.finetuning.loop.starting_network import read_weights
from meta_ood_training.weight_averaging import average_weights
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


def open_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint with what it says about itself."""
    if not path.is_file():
        last = path.with_name(LAST_FILE)
        advice = f'finetune writes {BEST_FILE} and {LAST_FILE}.'
        if path.name == BEST_FILE and last.is_file():
            advice = (
                f'This run was not validated, or no validation kept the mIoU that '
                f'validation.mean_iou_loss asks for. Take {last}.'
            )
        raise ConfigError(
            f'--checkpoint must be a file, got {str(path)!r}, which is none. {advice}'
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


def read_average(
    paths: Sequence[Path], network: NetworkConfig, start: str | Path | None, start_share: float
) -> dict[str, Tensor]:
    """Return the weights of one run, or of several averaged and moved back to their start."""
    runs = [read_weights(one, network.architecture, network.num_classes) for one in paths]
    if len(runs) == 1 and start is None:
        return runs[0]
    began = None
    if start is not None:
        if not Path(start).exists():
            raise ConfigError(
                f'--start must be a checkpoint or a bundle, got {str(start)!r}, which is not '
                'there. Name the file that network.weights of the runs named.'
            )
        began = read_weights(Path(start), network.architecture, network.num_classes)
    return average_weights(runs, start=began, start_share=start_share)


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
