"""Losses and scores of a run so far -> one figure, beside it TensorBoard's events."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
import logging
from pathlib import Path
import time
from typing import Any

from meta_ood_ros.core.files.whole_files import replace_whole
from meta_ood_training.finetuning.loop.csv_rows import (
    LOSS_FILE,
    PIXELS,
    read_rows,
    VALIDATION_FILE,
)
import numpy as np
from numpy.typing import NDArray

FIGURE_FILE = 'curves.png'
TENSORBOARD_FOLDER = 'tensorboard'
SMOOTHED_BATCHES = 25
_DRAW_SECONDS = 60.0
_LOG = logging.getLogger(__name__)


class Curves:
    """
    The figure of a run, drawn again while it goes on; no failure to draw ends the run.

    Parameters
    ----------
    output : Path
        Folder with the CSV files of the run.

    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self._next = time.monotonic() + _DRAW_SECONDS
        self._has_failed = False

    def draw_now_and_then(self) -> None:
        """Draw where the last time is a minute and twenty times the time of drawing ago."""
        start = time.monotonic()
        if start >= self._next:
            self.draw()
            end = time.monotonic()
            self._next = end + max(_DRAW_SECONDS, 20 * (end - start))

    def draw(self) -> None:
        """Draw, or say once why that cannot be."""
        try:
            draw_curves(self.output)
        except Exception as error:
            if not self._has_failed:
                _LOG.warning(
                    '%s is not drawn: %s. The numbers are in %s and %s.',
                    self.output / FIGURE_FILE, error, LOSS_FILE, VALIDATION_FILE,
                )  # fmt: skip
            self._has_failed = True


def open_tensorboard(output: Path, step: int) -> Any:
    """Return a writer of events from a step on, None where TensorBoard is not installed."""
    if find_spec('tensorboard') is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except Exception as error:  # of another version than this PyTorch or NumPy
        _LOG.warning('TensorBoard is installed and cannot be loaded: %s. It is left out.', error)
        return None
    # events of steps that a resumed run repeats are hidden
    return SummaryWriter(str(output / TENSORBOARD_FOLDER), purge_step=step)


def add_scalars(writer: Any, kind: str, values: Mapping[str, Any], step: int) -> None:
    """Show the numbers of a row; empty cells are left out."""
    if writer is not None:
        for name, value in values.items():
            if value not in ('', None):
                writer.add_scalar(f'{kind}/{name}', float(value), step)


def draw_curves(output: Path) -> Path:
    """Draw loss terms and validation scores over the steps; AP has an axis of its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.6), layout='constrained')
    FigureCanvasAgg(figure)
    losses, precision, scores = figure.subplots(1, 3)
    rows = read_rows(output / LOSS_FILE)
    steps = np.array([int(row['step']) for row in rows])
    for name, label in (('l_in', r'$\ell_{in}$'), ('l_out', r'$\ell_{out}$')):
        if rows:
            values, pixels = _read_term(rows, name)
            window = min(SMOOTHED_BATCHES, len(rows))
            line = losses.plot(steps[window - 1 :], smooth(values, pixels, window), label=label)[0]
            there = pixels > 0
            color = line.get_color()
            losses.plot(steps[there], values[there], color=color, alpha=0.15, linewidth=0.5)
    losses.set(xlabel='optimizer step', ylabel='loss [nat]', title='training')
    rows = read_rows(output / VALIDATION_FILE)
    steps = np.array([int(row['step']) for row in rows])
    for axes, name, label, style in (
        (precision, 'average_precision', 'AP', '.-'),
        (precision, 'prevalence', 'AP of a random score', 'k:'),
        (scores, 'fpr95', 'FPR95', '.-'),
        (scores, 'mean_iou', 'mean IoU', '.-'),
    ):
        if rows:
            axes.plot(steps, [float(row[name]) for row in rows], style, label=label)
    precision.set(xlabel='optimizer step', title='validation: AP of pasted objects')
    precision.set_ylim(bottom=0)
    scores.set(xlabel='optimizer step', ylim=(0, 1), title='validation: FPR95, mean IoU')
    for axes in (losses, precision, scores):
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
