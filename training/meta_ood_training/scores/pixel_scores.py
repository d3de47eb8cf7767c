"""Counts of OoD and in-distribution pixels by score -> AUROC, AP, FPR95, max J, curves."""

from dataclasses import dataclass

from meta_ood_training.scores.histogram import ScoreCounts
import numpy as np
from numpy.typing import NDArray

TPR = 0.95
"""Recall at which the false positive rate is read; the first threshold that reaches it."""


@dataclass(frozen=True)
class PixelScores:
    """
    How well a score tells OoD pixels from in-distribution ones.

    Attributes
    ----------
    auroc, average_precision, fpr95, max_j : float
        In [0, 1]. Equal scores are one group; fpr95 at the first threshold whose TPR is at least
        0.95; max_j = max over thresholds of TPR - FPR.
    auroc_bound, average_precision_bound, fpr95_bound, max_j_bound : float
        Largest distance to the value on unbinned scores; 0 after a second pass over all bins.
    prevalence : float
        Share of OoD pixels: the AP of a random score.
    positives, negatives : int
        Pixels.
    threshold95 : float
        Score at which fpr95 is read.

    """

    auroc: float
    average_precision: float
    fpr95: float
    max_j: float
    auroc_bound: float
    average_precision_bound: float
    fpr95_bound: float
    max_j_bound: float
    prevalence: float
    positives: int
    negatives: int
    threshold95: float


def measure_scores(counts: ScoreCounts) -> PixelScores:
    """
    Return the scores of a histogram.

    Parameters
    ----------
    counts : ScoreCounts
        At least one OoD and one in-distribution pixel.

    Returns
    -------
    PixelScores

    Notes
    -----
    AP is the sum over groups of precision x gain in recall, as in scikit-learn. Inside a bin
    every order of the true scores is possible; the bounds take the worst.

    """
    positives, negatives = counts.positives, counts.negatives
    total_positive, total_negative = int(positives.sum()), int(negatives.sum())
    if not total_positive or not total_negative:
        raise ValueError(
            f'scores need OoD and in-distribution pixels, got {total_positive} and '
            f'{total_negative}. Check the label mapping of the data set.'
        )
    true_after, false_after = np.cumsum(positives), np.cumsum(negatives)
    true_before, false_before = true_after - positives, false_after - negatives
    tpr_after, fpr_after = true_after / total_positive, false_after / total_negative

    pairs = positives.astype(float) * (total_negative - false_after + 0.5 * negatives)
    auroc = pairs.sum() / total_positive / total_negative
    mixed = ~counts.exact & (positives + negatives > 1)  # these may hide an order
    hidden = (positives[mixed].astype(float) * negatives[mixed]).sum() / 2
    precision = true_after / (true_after + false_after)
    average_precision = (precision * positives).sum() / total_positive
    at95 = int(np.searchsorted(true_after, TPR * total_positive))
    j_after = tpr_after - fpr_after
    highest = max(float(j_after.max()), 0.0)
    lowest_precision = (true_before + 1) / (true_before + 1 + false_after)
    largest_precision = true_after / np.maximum(true_after + false_before, 1)
    ap_bound = (
        max(
            ((precision - lowest_precision) * positives)[mixed].sum(),
            ((largest_precision - precision) * positives)[mixed].sum(),
        )
        / total_positive
    )
    fpr_bound = negatives[at95] / total_negative if mixed[at95] else 0.0
    possible = np.where(mixed, tpr_after - false_before / total_negative, j_after)
    j_bound = max(float(possible.max()) - highest, 0.0)
    return PixelScores(
        float(auroc),
        float(average_precision),
        float(fpr_after[at95]),
        highest,
        float(hidden / total_positive / total_negative),
        float(ap_bound),
        float(fpr_bound),
        j_bound,
        total_positive / (total_positive + total_negative),
        total_positive,
        total_negative,
        float(counts.thresholds[at95]),
    )


def find_decisive_bins(counts: ScoreCounts) -> NDArray[np.int64]:
    """
    Return the bins that decide FPR95 and max J.

    Parameters
    ----------
    counts : ScoreCounts
        Of a first pass.

    Returns
    -------
    ndarray of shape (D,), int64
        Indices; a second pass over them alone makes both values exact.

    """
    total_positive, total_negative = counts.positives.sum(), counts.negatives.sum()
    true_after, false_after = np.cumsum(counts.positives), np.cumsum(counts.negatives)
    at95 = np.searchsorted(true_after, TPR * total_positive)
    highest = (true_after / total_positive - false_after / total_negative).max()
    possible = true_after / total_positive - (false_after - counts.negatives) / total_negative
    return np.unique([*np.flatnonzero(possible > highest), at95]).astype(np.int64)


def roc_curve(counts: ScoreCounts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """
    Return the points of the ROC curve.

    Parameters
    ----------
    counts : ScoreCounts
        Any.

    Returns
    -------
    fpr, tpr : ndarray of shape (B + 1,), float64
        Ascending, from (0, 0) to (1, 1).

    """
    tpr = np.concatenate([[0.0], np.cumsum(counts.positives) / counts.positives.sum()])
    fpr = np.concatenate([[0.0], np.cumsum(counts.negatives) / counts.negatives.sum()])
    return fpr, tpr


def precision_recall_curve(
    counts: ScoreCounts,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """
    Return the points of the precision-recall curve.

    Parameters
    ----------
    counts : ScoreCounts
        Any.

    Returns
    -------
    recall, precision : ndarray of shape (B,), float64
        Recall ascending; to be drawn as steps, not as lines between points.

    """
    true_after, false_after = np.cumsum(counts.positives), np.cumsum(counts.negatives)
    return true_after / true_after[-1], true_after / (true_after + false_after)


def find_best_f1(counts: ScoreCounts) -> tuple[float, float]:
    """
    Return the threshold with the best F1 of pixels, and that F1.

    Parameters
    ----------
    counts : ScoreCounts
        At least one OoD pixel; binned counts give the lower edge of a bin.

    Returns
    -------
    threshold, f1 : float
        Score >= threshold is OoD; the highest of equally good thresholds.

    """
    true_after, false_after = np.cumsum(counts.positives), np.cumsum(counts.negatives)
    f1 = 2 * true_after / (true_after + false_after + true_after[-1])
    best = int(np.argmax(f1))
    return float(counts.thresholds[best]), float(f1[best])
