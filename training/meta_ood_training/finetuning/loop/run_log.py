"""Loss terms and validation scores of a run -> CSV, a figure, TensorBoard."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import lightning
from meta_ood_training.finetuning.loop.csv_rows import (
    append_row,
    keep_rows,
    LOSS_FILE,
    PIXELS,
    VALIDATION_FILE,
)
from meta_ood_training.finetuning.loop.curves import (
    add_scalars,
    Curves,
    open_tensorboard,
    SMOOTHED_BATCHES,
)
from meta_ood_training.finetuning.loop.module import FinetuneModule
from meta_ood_training.finetuning.loop.validation import Scores
import torch.distributed as dist

_LOSS_COLUMNS = ('batch', 'step', 'loss', *PIXELS, *PIXELS.values(), 'learning_rate')
_VALIDATION_COLUMNS = ('step', *(field.name for field in fields(Scores)))


class RunLog(lightning.Callback):
    """
    Writes one row a batch and one a validation, and draws both while the run goes on.

    Parameters
    ----------
    output : Path
        Folder of the run. Rows of steps that a resumed run repeats are replaced.

    Notes
    -----
    A row of LOSS_FILE is about the batch of all ranks together: `loss` is what is minimized, the
    terms are means over their pixels, which stand beside them, and empty where there is no such
    pixel; `learning_rate` is that of the step which the batch is a part of. The progress bar
    shows the terms smoothed, each batch weighted by its pixels.

    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self._learning_rate = 0.0
        self._recent: Any = 0.0
        self._curves = Curves(output)
        self._tensorboard: Any = None

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Drop rows from beyond the point where this run begins."""
        if trainer.is_global_zero:
            done = trainer.global_step * trainer.accumulate_grad_batches
            keep_rows(self.output / LOSS_FILE, _LOSS_COLUMNS, 'batch', done)
            end = trainer.global_step + 1
            keep_rows(self.output / VALIDATION_FILE, _VALIDATION_COLUMNS, 'step', end)
            self._tensorboard = open_tensorboard(self.output, trainer.global_step)

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Note the learning rate: behind the step it is that of the next one."""
        self._learning_rate = trainer.optimizers[0].param_groups[0]['lr']

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Append the loss terms of a batch."""
        assert isinstance(pl_module, FinetuneModule)
        sums = pl_module.last_sums.clone()
        if dist.is_available() and dist.is_initialized():
            # The ranks have just met to average the gradients and hardly wait; but for all batches
            # of an accumulation save the last, which cost a meeting more.
            dist.all_reduce(sums)
        loss = sums[0] / trainer.world_size
        recent = self._recent = (1 - 1 / SMOOTHED_BATCHES) * self._recent + sums
        shown = {'loss': loss, 'l_in': recent[1] / recent[3], 'l_out': recent[2] / recent[4]}
        pl_module.log_dict(shown, prog_bar=True, logger=False, batch_size=1)
        if not trainer.is_global_zero:
            return
        _, *terms, known, ood = sums.tolist()
        row: dict[str, Any] = {'batch': batch_idx, 'step': trainer.global_step}
        row['loss'] = f'{float(loss):.6g}'
        for (name, column), term, pixels in zip(PIXELS.items(), terms, (known, ood), strict=True):
            row[name] = f'{term / pixels:.6g}' if pixels else ''
            row[column] = int(pixels)
        row['learning_rate'] = f'{self._learning_rate:.6g}'
        append_row(self.output / LOSS_FILE, _LOSS_COLUMNS, row)
        shown = {name: row[name] for name in ('loss', *PIXELS, 'learning_rate')}
        add_scalars(self._tensorboard, 'training', shown, trainer.global_step)
        self._curves.draw_now_and_then()

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Append the scores of a validation."""
        assert isinstance(pl_module, FinetuneModule)
        scores = pl_module.last_scores
        if trainer.is_global_zero and scores is not None:
            # A run killed behind a validation repeats it.
            end = 0 if trainer.sanity_checking else trainer.global_step
            path = self.output / VALIDATION_FILE
            keep_rows(path, _VALIDATION_COLUMNS, 'step', end)
            row = {name: f'{value:.6g}' for name, value in scores.as_dict().items()}
            append_row(path, _VALIDATION_COLUMNS, {'step': trainer.global_step, **row})
            add_scalars(self._tensorboard, 'validation', row, trainer.global_step)
            self._curves.draw_now_and_then()

    def on_exception(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        exception: BaseException,
    ) -> None:
        """Draw what there is of an interrupted run; a failed one has its own error to say."""
        if isinstance(exception, KeyboardInterrupt) and (self.output / LOSS_FILE).is_file():
            self.on_train_end(trainer, pl_module)

    def on_train_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Draw the whole run."""
        if trainer.is_global_zero:
            self._curves.draw()
            if self._tensorboard is not None:
                self._tensorboard.close()
