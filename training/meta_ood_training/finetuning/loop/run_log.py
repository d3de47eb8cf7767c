"""Loss terms and validation scores of a run -> CSV -> one figure."""

from collections.abc import Sequence
import csv
from dataclasses import fields
import io
from pathlib import Path
from typing import Any

import lightning
from meta_ood_ros.core.whole_files import explained, replace_whole, write_whole
from meta_ood_training.finetuning.loop.module import FinetuneModule
from meta_ood_training.finetuning.loop.validation import Scores
import numpy as np
from numpy.typing import NDArray
import torch.distributed as dist

LOSS_FILE = 'loss.csv'
VALIDATION_FILE = 'validation.csv'
LOG_FILES = (LOSS_FILE, VALIDATION_FILE)
FIGURE_FILE = 'curves.png'
PIXELS = {'l_in': 'in_distribution_px', 'l_out': 'ood_px'}
"""Mean of a term -> the column with its pixels."""
_SMOOTHED_BATCHES = 25
_LOSS_COLUMNS = ('batch', 'step', 'loss', *PIXELS, *PIXELS.values(), 'learning_rate')
_VALIDATION_COLUMNS = ('step', *(field.name for field in fields(Scores)))


class RunLog(lightning.Callback):
    """
    Writes one row a batch and one a validation, and draws both when the run ends.

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

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Drop rows from beyond the point where this run begins."""
        if trainer.is_global_zero:
            done = trainer.global_step * trainer.accumulate_grad_batches
            _keep_rows(self.output / LOSS_FILE, _LOSS_COLUMNS, 'batch', done)
            end = trainer.global_step + 1
            _keep_rows(self.output / VALIDATION_FILE, _VALIDATION_COLUMNS, 'step', end)

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
        recent = self._recent = (1 - 1 / _SMOOTHED_BATCHES) * self._recent + sums
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
        _append_row(self.output / LOSS_FILE, _LOSS_COLUMNS, row)

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
            _keep_rows(path, _VALIDATION_COLUMNS, 'step', end)
            row = {name: f'{value:.6g}' for name, value in scores.as_dict().items()}
            _append_row(path, _VALIDATION_COLUMNS, {'step': trainer.global_step, **row})

    def on_train_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Draw the figure."""
        if trainer.is_global_zero:
            draw_curves(self.output)


def read_rows(path: Path) -> list[dict[str, str]]:
    """
    Return the rows of a CSV file.

    Parameters
    ----------
    path : Path
        May be missing; a last row cut short by a kill is left out.

    """
    if not path.is_file():
        return []
    with path.open(newline='', encoding='utf-8') as stream:
        rows = csv.DictReader(stream)
        return [row for row in rows if None not in row and None not in row.values()]


def draw_curves(output: Path) -> Path:
    """Draw loss terms and validation scores over the steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout='constrained')
    FigureCanvasAgg(figure)
    losses, scores = figure.subplots(1, 2)
    rows = read_rows(output / LOSS_FILE)
    steps = np.array([int(row['step']) for row in rows])
    for name, label in (('l_in', r'$\ell_{in}$'), ('l_out', r'$\ell_{out}$')):
        if rows:
            values, pixels = _read_term(rows, name)
            window = min(_SMOOTHED_BATCHES, len(rows))
            line = losses.plot(steps[window - 1 :], smooth(values, pixels, window), label=label)[0]
            there = pixels > 0
            color = line.get_color()
            losses.plot(steps[there], values[there], color=color, alpha=0.15, linewidth=0.5)
    losses.set(xlabel='optimizer step', ylabel='loss [nat]', title='training')
    rows = read_rows(output / VALIDATION_FILE)
    steps = np.array([int(row['step']) for row in rows])
    for name in ('average_precision', 'fpr95', 'mean_iou'):
        if rows:
            scores.plot(steps, [float(row[name]) for row in rows], marker='.', label=name)
    scores.set(xlabel='optimizer step', ylim=(0, 1), title='validation')
    for axes in (losses, scores):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    with replace_whole(output / FIGURE_FILE) as stream:
        figure.savefig(stream, dpi=130, format='png')
    return output / FIGURE_FILE


def smooth(
    values: NDArray[np.float64], weights: NDArray[np.float64], window: int
) -> NDArray[np.float64]:
    """
    Return the weighted mean of each window.

    Parameters
    ----------
    values, weights : ndarray of shape (N,), float64
        Weights from 0 on.

    Returns
    -------
    ndarray of shape (N - window + 1,), float64
        NaN where all weights are 0.

    """
    ones = np.ones(window)
    total = np.convolve(weights, ones, 'valid')
    sums = np.convolve(values * weights, ones, 'valid')
    return np.divide(sums, total, out=np.full_like(sums, np.nan), where=total > 0)


def _read_term(
    rows: Sequence[dict[str, str]], name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a term and its pixels, both 0 in rows without such a pixel."""
    values = np.array([float(row[name] or 0) for row in rows])
    # Rows of earlier versions do not tell the pixels; their 0 is of a batch without any.
    pixels = [
        float(row.get(PIXELS[name]) or value > 0) for row, value in zip(rows, values, strict=True)
    ]
    return values, np.array(pixels)


def _append_row(path: Path, columns: Sequence[str], row: dict[str, Any]) -> None:
    is_new = not path.is_file() or path.stat().st_size == 0
    with explained(path), path.open('a', newline='', encoding='utf-8') as stream:
        writer = csv.DictWriter(stream, columns)
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def _keep_rows(path: Path, columns: Sequence[str], column: str, end: int) -> None:
    """Drop all rows from `end` on; what is kept stays on the disk whatever happens meanwhile."""
    if not path.is_file():
        return
    text = io.StringIO(newline='')
    kept = [row for row in read_rows(path) if int(row[column]) < end]
    if kept:
        # Rows of earlier versions may lack columns.
        writer = csv.DictWriter(text, columns, restval='', extrasaction='ignore')
        writer.writeheader()
        writer.writerows(kept)
    content = text.getvalue().encode()
    if content != path.read_bytes():
        write_whole(path, content)
