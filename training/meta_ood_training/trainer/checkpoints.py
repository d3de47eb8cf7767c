"""Files that are whole or absent: where a killed run goes on, and the weights it has found."""

from collections.abc import Mapping
import os
from pathlib import Path
import tempfile
from typing import Any

import lightning
from lightning.pytorch.plugins.io import TorchCheckpointIO
from meta_ood_training.trainer.module import FinetuneModule
from meta_ood_training.trainer.validation import Scores
import torch

RESUME_FILE = 'last.ckpt'
BEST_FILE = 'best.pth'
LAST_FILE = 'final.pth'


def save_whole(record: Any, path: Path) -> None:
    """
    Write a record with torch.save, or leave what was there.

    Parameters
    ----------
    record : object
        What torch.save takes.
    path : Path
        Replaced in one step once everything is on the disk.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}-')
    try:
        with os.fdopen(handle, 'wb') as stream:
            torch.save(record, stream)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class WholeFiles(TorchCheckpointIO):
    """Lightning's checkpoints, written by `save_whole`."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """
        Write a checkpoint.

        Parameters
        ----------
        checkpoint : dict
            What Lightning wants kept.
        path : str or Path
            Where.
        storage_options : None
            Not used.

        """
        save_whole(checkpoint, Path(path))


class KeepCheckpoints(lightning.Callback):
    """
    Saves where to resume every so many steps, and the best weights after each validation.

    Parameters
    ----------
    output : Path
        Folder of the run.
    every_steps : int
        Optimizer steps between resume points.
    mean_iou_loss : float
        See `Scores.is_better`.
    patience : int
        Validations without a better one until the run is stopped; 0 never stops it.
    facts : mapping of str
        Goes into the weights' files beside `state_dict`: plain values only.

    """

    def __init__(
        self,
        output: Path,
        *,
        every_steps: int,
        mean_iou_loss: float,
        patience: int,
        facts: Mapping[str, Any],
    ) -> None:
        self.output = output
        self.every_steps = every_steps
        self.mean_iou_loss = mean_iou_loss
        self.patience = patience
        self.facts = dict(facts)
        self.best: Scores | None = None
        self.best_step = 0
        self.waited = 0
        self._saved_step = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know."""
        return {
            'best': self.best.as_dict() if self.best else None,
            'best_step': self.best_step,
            'waited': self.waited,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """
        Take it back.

        Parameters
        ----------
        state_dict : dict
            Of a killed run.

        """
        self.best = Scores(**state_dict['best']) if state_dict['best'] else None
        self.best_step = state_dict['best_step']
        self.waited = state_dict['waited']

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save where to resume; between two optimizer steps only, gradients are not kept."""
        step = trainer.global_step
        whole_step = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if whole_step and step % self.every_steps == 0 and step != self._saved_step:
            self._saved_step = step
            trainer.save_checkpoint(self.output / RESUME_FILE)

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Keep the weights where they are the best so far."""
        assert isinstance(pl_module, FinetuneModule)
        scores = pl_module.last_scores
        if trainer.sanity_checking or scores is None:
            return
        if scores.is_better(self.best, pl_module.start_scores, self.mean_iou_loss):
            self.best, self.best_step, self.waited = scores, trainer.global_step, 0
            self.save_weights(trainer, pl_module, BEST_FILE, scores)
        else:
            self.waited += 1
            if self.patience and self.waited >= self.patience:
                trainer.should_stop = True

    def on_train_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Keep the last weights, whatever their scores."""
        assert isinstance(pl_module, FinetuneModule)
        self.save_weights(trainer, pl_module, LAST_FILE, pl_module.last_scores)

    def save_weights(
        self, trainer: lightning.Trainer, module: FinetuneModule, name: str, scores: Scores | None
    ) -> None:
        """
        Write the weights that the run would export now.

        Parameters
        ----------
        trainer : Trainer
            Of the run.
        module : FinetuneModule
            Its `exported` network is written.
        name : str
            File in the output folder.
        scores : Scores, optional
            Of these weights.

        """
        if not trainer.is_global_zero:
            return
        record = {
            'state_dict': {
                key: value.detach().cpu() for key, value in module.exported.state_dict().items()
            },
            **self.facts,
            'step': int(trainer.global_step),
            'scores': scores.as_dict() if scores else {},
            'start_scores': module.start_scores.as_dict() if module.start_scores else {},
        }
        save_whole(record, self.output / name)
