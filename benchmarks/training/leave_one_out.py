"""
Leave-one-segment-out: all folds at once against refitting scikit-learn for each fold.

The baseline is timed on a random part of the folds and extrapolated to all of them, which the
row says; the fast path is timed whole. Both find the same processors as busy or as idle.
"""

import time
from typing import Any

from meta_ood_training.meta.fitting.leave_one_out import leave_one_out
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks.figures.comparison import Comparison, Options

TITLE = 'Leave-one-segment-out of the meta classifier, 10,000 segments x 75 metrics'

SEGMENTS, METRICS = 10_000, 75
TIMED_FOLDS = 200
TARGET = 20.0


def measure(options: Options) -> list[Comparison]:
    """Return one row for each scaler mode and tolerance of the baseline."""
    del options
    return [
        compare(leaky_scaler=leaky_scaler, tolerance=tolerance)
        for tolerance in (1e-12, 1e-4)
        for leaky_scaler in (False, True)
    ]


def compare(
    *,
    segments: int = SEGMENTS,
    metrics: int = METRICS,
    timed_folds: int = TIMED_FOLDS,
    leaky_scaler: bool = False,
    tolerance: float = 1e-12,
    seed: int = 0,
) -> Comparison:
    """Time both, and compare their predictions."""
    values, labels = make_segments(segments, metrics, seed=seed)
    leave_one_out(values[:200], labels[:200])  # threads and libraries are warm
    start = time.perf_counter()
    fast = leave_one_out(values, labels, leaky_scaler=leaky_scaler)
    fast_ms = 1e3 * (time.perf_counter() - start)
    folds = np.random.default_rng(seed).permutation(segments)[:timed_folds]
    start = time.perf_counter()
    expected = refit(values, labels, folds, leaky_scaler=leaky_scaler, tolerance=tolerance)
    baseline_ms = 1e3 * (time.perf_counter() - start) * segments / len(folds)
    details: dict[str, Any] = {
        'baseline_extrapolated_from_folds': len(folds),
        'largest_difference': float(np.abs(fast.probability[folds] - expected).max()),
        'rounds_of_the_slowest_fold': fast.rounds,
        'folds_fitted_alone': fast.refitted,
    }
    scaler = 'over all segments' if leaky_scaler else 'inside each fold'
    return Comparison(
        case=f'{segments} folds, z-scores {scaler}, tol {tolerance:g}',
        subject='leave_one_out',
        baseline=f'scikit-learn refitted, extrapolated from {len(folds)} folds',
        subject_values=[fast_ms],
        baseline_values=[baseline_ms],
        target=TARGET,
        details=details,
    )


def make_segments(segments: int, metrics: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return skewed, correlated metrics (K, D) and labels (K,) of which a third are true."""
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((segments, 8))
    mixed = base @ rng.standard_normal((8, metrics)) / 2 + rng.standard_normal((segments, metrics))
    labels = rng.random(segments) < 1.0 / (1.0 + np.exp(1.0 - 2.0 * base[:, 0]))
    return np.exp(mixed / 2), labels


def refit(
    values: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    *,
    leaky_scaler: bool,
    tolerance: float,
) -> np.ndarray:
    """Return P(true OoD) of some segments, each by a scikit-learn fit on all others."""
    everything = StandardScaler().fit_transform(values) if leaky_scaler else values
    predictions = []
    for fold in folds:
        kept = np.delete(everything, fold, axis=0)
        left = everything[fold : fold + 1]
        if not leaky_scaler:
            scaler = StandardScaler().fit(kept)
            kept, left = scaler.transform(kept), scaler.transform(left)
        model = LogisticRegression(solver='liblinear', tol=tolerance, max_iter=1000)
        model.fit(kept, np.delete(labels, fold))
        predictions.append(model.predict_proba(left)[0, 1])
    return np.array(predictions)
