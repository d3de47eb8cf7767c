"""Which parts of a network behave as in training: batch norm and dropout as the config says."""

from meta_ood_training.finetuning.loop_config import TrainingConfig
from torch import nn

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm)
_DROPOUTS = (nn.Dropout, nn.Dropout2d)


def set_modes(network: nn.Module, training: TrainingConfig) -> None:
    """Set the parts of a network to train or to stand still."""
    network.train()
    for part in network.modules():
        frozen = training.frozen_batch_norm and isinstance(part, _BATCH_NORMS)
        if frozen or (not training.dropout and isinstance(part, _DROPOUTS)):
            part.eval()


def depends_on_ranks(network: nn.Module, training: TrainingConfig) -> bool:
    """
    Return whether a step depends on how its samples are shared out among ranks.

    Returns
    -------
    bool
        True where batch norm takes the statistics of one rank's samples, or dropout its chance.

    """
    norms = not (training.frozen_batch_norm or training.sync_batch_norm)
    return any(
        (norms and isinstance(part, _BATCH_NORMS))
        or (training.dropout and isinstance(part, _DROPOUTS))
        for part in network.modules()
    )
