"""Numbers of a meta classifier report -> its PNG figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.path import Path
from meta_ood_training.meta.fitting.calibration import measure_reliability
from meta_ood_training.meta.judging.evaluation import describe_sizes
from meta_ood_training.meta.judging.explain import (
    CoefficientIntervals,
    LarsPath,
    MetricSubsetScores,
)
from meta_ood_training.segments.segment_set import SegmentSet
import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

#: The pie of figure 9 is entirely red from this road miss rate on.
RED_ROAD_MISS_RATE = 0.001
_TITLES = {
    'logistic_regression': 'logistic regression',
    'neural_network': 'neural network',
    'gradient_boosting': 'gradient boosting',
}
_PUBLISHED = ('logistic_regression', 'neural_network')


def draw_errors(path: FilePath, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draw false positives against missed objects over thresholds (Chan et al., figure 9)."""
    figure, axes = _new_figure((7, 5))
    for title, points in curves.items():
        points = [one for one in points if one is not None]
        false = np.array([one['false_positives'] for one in points])
        missed = np.array([one['missed_objects'] for one in points])
        (line,) = axes.plot(false, missed, label=title, linewidth=1, zorder=1)
        for point, x, y in zip(points, false, missed, strict=True):
            _draw_pie(axes, x, y, point['road_miss_rate'], line.get_color())
            axes.annotate(
                f'{point["entropy_threshold"]:g}',
                (x, y),
                textcoords='offset points',
                xytext=(6, 4),
                fontsize=7,
            )
    axes.set(
        xscale='symlog',
        xlabel='false positive segments',
        ylabel='missed objects',
        title=f'pies: road miss rate, entirely red from {RED_ROAD_MISS_RATE:.1%}',
    )
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.legend(fontsize=8)
    _save(figure, path)


def draw_curves(path: FilePath, score: Mapping[str, np.ndarray], is_true_ood: np.ndarray) -> None:
    """
    Draw ROC and PR curves, positive = false segment (Runtas & Petkovic, figure 1).

    Parameters
    ----------
    score : mapping of str to ndarray of shape (K,)
        By title; larger = rather a true OoD segment.
    is_true_ood : ndarray of shape (K,), bool
        Both classes must occur.

    """
    figure = Figure(figsize=(9, 4), layout='constrained')
    roc, pr = figure.subplots(1, 2)
    for title, values in score.items():
        false_rate, true_rate, _ = roc_curve(~is_true_ood, -values)
        roc.plot(false_rate, true_rate, label=title)
        precision, recall, _ = precision_recall_curve(~is_true_ood, -values)
        pr.plot(recall, precision, label=title)
    roc.plot([0, 1], [0, 1], 'r--', linewidth=1, label='random')
    pr.axhline(float(np.mean(~is_true_ood)), color='r', linestyle='--', linewidth=1)
    roc.set(xlabel='false positive rate', ylabel='true positive rate', title='ROC')
    pr.set(xlabel='recall', ylabel='precision', title='PR (positive = false segment)')
    roc.legend(fontsize=8)
    _save(figure, path)


def draw_reliability(
    path: FilePath, probability: Mapping[str, np.ndarray], is_true_ood: np.ndarray
) -> None:
    """
    Draw observed against predicted frequencies of true segments.

    Parameters
    ----------
    probability : mapping of str to ndarray of shape (K,)
        Out-of-fold, by title.
    is_true_ood : ndarray of shape (K,), bool
        True segments are the positive class.

    """
    figure, axes = _new_figure((5, 5))
    axes.plot([0, 1], [0, 1], 'k--', linewidth=1)
    for title, values in probability.items():
        curve = measure_reliability(values, is_true_ood)
        used = curve.count > 0
        axes.plot(
            curve.predicted[used],
            curve.observed[used],
            'o-',
            label=f'{title} (ECE {curve.ece:.3f})',
        )
    axes.set(xlabel='predicted ood_probability', ylabel='observed share of true segments')
    axes.legend(fontsize=8)
    _save(figure, path)


def draw_lars(path: FilePath, lars: LarsPath, names: Sequence[str], *, first: int = 12) -> None:
    """Draw the least angle regression path of the metrics that become active first."""
    figure, axes = _new_figure((7, 5))
    end = _where_first_settle(lars, first)
    steps = lars.strength <= end
    for place, metric in enumerate(lars.order[:first]):
        axes.plot(
            lars.strength[steps],
            lars.coefficients[metric, steps],
            label=names[metric],
            linestyle='-' if place < 10 else '--',  # matplotlib has ten colours
        )
    axes.axhline(0.0, color='k', linewidth=0.5)
    axes.set(xlabel='sum of |coefficients|', ylabel='coefficient (positive = true OoD)')
    axes.set_xlim(0, end)
    axes.legend(fontsize=7)
    _save(figure, path)


def draw_coefficients(
    path: FilePath, intervals: CoefficientIntervals, names: Sequence[str], *, first: int = 25
) -> None:
    """Draw the largest coefficients of the logistic regression with their intervals."""
    order = np.argsort(-np.abs(intervals.coefficient))[:first][::-1]
    figure, axes = _new_figure((7, 0.24 * len(order) + 1))
    rows = np.arange(len(order))
    axes.hlines(rows, intervals.lower[order], intervals.upper[order], color='0.6')
    axes.plot(intervals.coefficient[order], rows, 'o', markersize=4)
    axes.axvline(0.0, color='k', linewidth=0.5)
    axes.set_yticks(rows, [names[one] for one in order], fontsize=7)
    axes.set(xlabel='coefficient for the z-score (positive = true OoD), 95 % over groups')
    _save(figure, path)


def draw_metric_subsets(path: FilePath, scores: MetricSubsetScores) -> None:
    """Draw AUROC and AUPRC with the first N metrics (Runtas & Petkovic, figure 4)."""
    figure = Figure(figsize=(9, 4), layout='constrained')
    left, right = figure.subplots(1, 2)
    for kind in _PUBLISHED:
        title = _TITLES[kind]
        ranked = getattr(scores, kind)
        left.plot(scores.counts, [one.auroc for one in ranked], '.-', label=title)
        right.plot(scores.counts, [one.auprc_false for one in ranked], '.-', label=title)
    left.set(xlabel='first N metrics of the LARS path', ylabel='AUROC')
    right.set(xlabel='first N metrics of the LARS path', ylabel='AUPRC (positive = false)')
    left.legend(fontsize=8)
    _save(figure, path)


def draw_sizes(path: FilePath, segments: SegmentSet, logit: Mapping[str, np.ndarray]) -> None:
    """
    Draw AUROC by segment size.

    Parameters
    ----------
    logit : mapping of str to ndarray of shape (K,)
        Out-of-fold, by kind.

    """
    figure, axes = _new_figure((6, 4))
    nothing = np.zeros(len(segments), dtype=bool)
    for kind, values in logit.items():
        table = describe_sizes(segments, values, nothing)
        ticks = [f'{one["from_px"]}-{one["to_px"] or ""}' for one in table]
        axes.plot(ticks, [one['auroc'] for one in table], 'o-', label=_TITLES.get(kind, kind))
    axes.set(xlabel='segment size [work pixels]', ylabel='AUROC, out of fold')
    axes.legend(fontsize=8)
    _save(figure, path)


def _draw_pie(axes: Axes, x: float, y: float, miss_rate: float, color: Any) -> None:
    """Draw a marker whose red part grows with the road miss rate."""
    share = 0.0 if np.isnan(miss_rate) else min(miss_rate / RED_ROAD_MISS_RATE, 1.0)
    axes.scatter([x], [y], s=70, facecolor='white', edgecolor=color, zorder=2)
    if share > 0:
        angles = np.pi / 2 - np.linspace(0.0, 2 * np.pi * share, 30)
        outline = np.column_stack([np.cos(angles), np.sin(angles)])
        wedge = outline if share == 1.0 else np.vstack([[0.0, 0.0], outline])
        # the marker is scaled by its largest coordinate: so is its area
        size = 70 * np.abs(wedge).max() ** 2
        axes.scatter([x], [y], s=size, marker=Path(wedge), facecolor='red', linewidth=0, zorder=3)


def _where_first_settle(lars: LarsPath, first: int) -> float:
    """Return the end of the axis: twice the place where the last metric shown became active."""
    shown = lars.coefficients[lars.order[:first]]
    active = np.flatnonzero((shown != 0).any(axis=1))
    if not len(active):
        return 1.0
    start = max(int(np.argmax(shown[one] != 0)) for one in active)
    return float(max(2 * lars.strength[min(start, len(lars.strength) - 1)], 1e-9))


def _new_figure(size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout='constrained')
    return figure, figure.subplots()


def _save(figure: Figure, path: FilePath) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=110)
