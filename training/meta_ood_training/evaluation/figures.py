"""Evaluations -> ROC and PR curves, entropy violins, mIoU over the threshold, as PNG."""

from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from meta_ood_training.evaluation.pixel_evaluation import PixelEvaluation
from meta_ood_training.scores import precision_recall_curve, roc_curve, ScoreCounts
import numpy as np

VIOLIN_BINS = 100
MAX_POINTS = 2000
"""Points of a drawn curve; more cannot be told apart."""


def save_curves(evaluations: Mapping[str, PixelEvaluation], title: str, path: Path) -> None:
    """Draw ROC and precision-recall curves (figure 5 of Chan et al.)."""
    figure = new_figure(9, 4.2)
    roc, recall = figure.subplots(1, 2)
    for name, evaluation in evaluations.items():
        for score, counts in evaluation.counts.items():
            value = evaluation.scores[score]
            label = name if len(evaluation.counts) == 1 else f'{name}, {score}'
            fpr, tpr = thin(*roc_curve(counts))
            roc.plot(fpr, tpr, label=f'{label}: AUROC {value.auroc:.3f}')
            x, y = thin(*precision_recall_curve(counts))
            recall.step(x, y, where='pre', label=f'{label}: AP {value.average_precision:.3f}')
    prevalence = next(iter(next(iter(evaluations.values())).scores.values())).prevalence
    roc.plot([0, 1], [0, 1], ':', color='grey', label='random')
    roc.axhline(0.95, color='grey', linewidth=0.5)
    recall.axhline(prevalence, linestyle=':', color='grey', label=f'random: {prevalence:.3f}')
    for axes, words in (
        (roc, ('false positive rate', 'true positive rate')),
        (recall, ('recall', 'precision')),
    ):
        axes.set(xlabel=words[0], ylabel=words[1], xlim=(0, 1), ylim=(0, 1.01))
        axes.legend(fontsize=7)
    figure.suptitle(title)
    save(figure, path)


def save_violins(evaluations: Mapping[str, PixelEvaluation], title: str, path: Path) -> None:
    """
    Draw the entropy of OoD and in-distribution pixels (figure 4 of Chan et al.).

    Notes
    -----
    The width is the share of pixels at that entropy; each half is scaled to its own maximum, or
    the many certain in-distribution pixels would leave nothing to see of the rest.

    """
    figure = new_figure(max(4.5, 1.6 + 1.6 * len(evaluations)), 4.2)
    axes = figure.subplots()
    middle = (np.arange(VIOLIN_BINS) + 0.5) / VIOLIN_BINS
    for place, evaluation in enumerate(evaluations.values()):
        ood, known = entropy_shares(evaluation.counts['entropy'])
        for side, shares, colour in ((-1, known, 'tab:blue'), (1, ood, 'tab:orange')):
            edge = place + side * 0.45 * shares / max(shares.max(), 1e-12)
            axes.fill_betweenx(middle, place, edge, color=colour, alpha=0.8, linewidth=0)
            median = middle[np.searchsorted(np.cumsum(shares), 0.5)]
            axes.plot([place, place + side * 0.3], [median, median], color='black', linewidth=1)
    axes.set_xticks(range(len(evaluations)), list(evaluations), fontsize=8)
    axes.set(ylim=(0, 1), xlim=(-0.6, len(evaluations) - 0.4), ylabel='normalized entropy')
    axes.set_title(f'{title}\nin-distribution (blue), OoD (orange), medians', fontsize=9)
    save(figure, path)


def save_mean_iou(evaluations: Mapping[str, PixelEvaluation], title: str, path: Path) -> None:
    """Draw the mean IoU over the entropy threshold (figure 6 of Chan et al.)."""
    figure = new_figure(5.5, 4.2)
    axes = figure.subplots()
    for place, (name, evaluation) in enumerate(evaluations.items()):
        confusion = evaluation.confusion
        without = confusion.mean_iou()
        colour = f'C{place}'
        axes.plot(
            confusion.thresholds,
            confusion.mean_iou_over_threshold(),
            marker='.',
            color=colour,
            label=f'{name}: {without:.3f} without OoD predictions',
        )
        if not place:
            axes.axhline(
                without - 0.01,
                linestyle='--',
                color='tab:red',
                linewidth=0.8,
                label='1 point below the first',
            )
    axes.set(xlabel='entropy threshold', ylabel='mIoU', xlim=(0, 1), ylim=(0, 1), title=title)
    axes.legend(fontsize=7)
    save(figure, path)


def entropy_shares(counts: ScoreCounts) -> tuple[np.ndarray, np.ndarray]:
    """
    Return how the entropies of OoD and of in-distribution pixels are spread.

    Returns
    -------
    tuple of two ndarray of shape (100,), float64
        Shares over equal bins of [0, 1], each summing to 1: OoD, in-distribution.

    """
    place = np.clip((counts.thresholds * VIOLIN_BINS).astype(int), 0, VIOLIN_BINS - 1)
    ood = np.bincount(place, counts.positives, minlength=VIOLIN_BINS)
    known = np.bincount(place, counts.negatives, minlength=VIOLIN_BINS)
    return ood / max(ood.sum(), 1), known / max(known.sum(), 1)


def thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Return at most MAX_POINTS points of a curve, spread along both axes.

    Parameters
    ----------
    x, y : ndarray of shape (N,)
        Points in drawing order, within [0, 1].

    Returns
    -------
    tuple of two ndarray of equal length

    """
    if len(x) <= MAX_POINTS:
        return x, y
    way = np.concatenate([[0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    wanted = np.linspace(0, way[-1], MAX_POINTS)
    kept = np.unique(np.searchsorted(way, wanted).clip(0, len(x) - 1))
    return x[kept], y[kept]


FIGURES: dict[str, Callable[[Mapping[str, PixelEvaluation], str, Path], None]] = {
    'curves': save_curves,
    'entropy': save_violins,
    'miou': save_mean_iou,
}
"""Figure -> how it is drawn."""


def new_figure(width: float, height: float) -> Figure:
    """Make a figure outside pyplot, which would keep it for ever."""
    figure = Figure(figsize=(width, height), dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
