"""Loss terms and validation scores of a run -> CSV -> one figure."""

import csv
from pathlib import Path
from typing import Any

import lightning
from meta_ood_training.trainer.module import FinetuneModule
import numpy as np

LOSS_FILE = 'loss.csv'
VALIDATION_FILE = 'validation.csv'
FIGURE_FILE = 'curves.png'
_SMOOTHED_STEPS = 25


class RunLog(lightning.Callback):
    """
    Writes one row a step and one a validation, and draws both when the run ends.

    Parameters
    ----------
    output : Path
        Folder of the run. Rows of steps that a resumed run repeats are replaced.

    """

    def __init__(self, output: Path) -> None:
        self.output = output

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Drop rows from beyond the point where this run begins."""
        if not trainer.is_global_zero:
            return
        done = trainer.global_step * trainer.accumulate_grad_batches
        for name, column, end in (
            (LOSS_FILE, 'batch', done),
            (VALIDATION_FILE, 'step', trainer.global_step + 1),
        ):
            path = self.output / name
            _write_rows(path, [row for row in read_rows(path) if int(row[column]) < end])

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Append the loss terms of a step."""
        if trainer.is_global_zero:
            terms = trainer.callback_metrics
            row: dict[str, Any] = {'batch': batch_idx, 'step': trainer.global_step}
            row |= {name: f'{float(terms[name]):.6g}' for name in ('loss', 'l_in', 'l_out')}
            rate = trainer.optimizers[0].param_groups[0]['lr']
            _append_row(self.output / LOSS_FILE, {**row, 'learning_rate': f'{rate:.6g}'})

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Append the scores of a validation."""
        assert isinstance(pl_module, FinetuneModule)
        scores = pl_module.last_scores
        if trainer.is_global_zero and scores is not None:
            # A run killed behind a validation repeats it.
            rows = [] if trainer.sanity_checking else read_rows(self.output / VALIDATION_FILE)
            kept = [one for one in rows if int(one['step']) < trainer.global_step]
            _write_rows(self.output / VALIDATION_FILE, kept)
            row = {name: f'{value:.6g}' for name, value in scores.as_dict().items()}
            _append_row(self.output / VALIDATION_FILE, {'step': trainer.global_step, **row})

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

    Returns
    -------
    list of dict

    """
    if not path.is_file():
        return []
    with path.open(newline='', encoding='utf-8') as stream:
        return [row for row in csv.DictReader(stream) if None not in row.values()]


def draw_curves(output: Path) -> Path:
    """
    Draw loss terms and validation scores over the steps.

    Parameters
    ----------
    output : Path
        Folder of the run, with its CSV files.

    Returns
    -------
    Path
        The PNG file.

    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout='constrained')
    FigureCanvasAgg(figure)
    losses, scores = figure.subplots(1, 2)
    rows = read_rows(output / LOSS_FILE)
    steps = np.array([int(row['step']) for row in rows])
    for name, label in (('l_in', r'$\ell_{in}$'), ('l_out', r'$\ell_{out}$')):
        values = np.array([float(row[name]) for row in rows])
        if values.size:
            window = min(_SMOOTHED_STEPS, values.size)
            mean = np.convolve(values, np.ones(window) / window, 'valid')
            line = losses.plot(steps[window - 1 :], mean, label=label)[0]
            losses.plot(steps, values, color=line.get_color(), alpha=0.15, linewidth=0.5)
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
    figure.savefig(output / FIGURE_FILE, dpi=130)
    return output / FIGURE_FILE


def _append_row(path: Path, row: dict[str, Any]) -> None:
    is_new = not path.is_file() or path.stat().st_size == 0
    with path.open('a', newline='', encoding='utf-8') as stream:
        writer = csv.DictWriter(stream, list(row))
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def _write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open('w', newline='', encoding='utf-8') as stream:
        if rows:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
