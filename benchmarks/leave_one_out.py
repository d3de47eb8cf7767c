"""
Leave-one-segment-out: all folds at once against refitting scikit-learn for each fold.

The baseline is timed on a random part of the folds and extrapolated to all of them, which the
result says; the fast path is timed whole. Both use the same threads.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
import json
import time

from meta_ood_training.leave_one_out import leave_one_out
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

SEGMENTS = 10_000
METRICS = 75
TIMED_FOLDS = 200


@dataclass(frozen=True)
class LeaveOneOutTiming:
    """
    One comparison.

    Parameters
    ----------
    segments, metrics : int
        Size of the problem.
    leaky_scaler : bool
        z-scores over all segments (published) or inside each fold.
    tolerance : float
        Of liblinear: 1e-12 for parity, 1e-4 is scikit-learn's default.
    fast_s : float
        All folds at once, in seconds.
    baseline_s : float
        scikit-learn for all folds, extrapolated from `timed_folds`, in seconds.
    timed_folds : int
        Folds on which the baseline was timed.
    ratio : float
        baseline_s / fast_s.
    largest_difference : float
        Between the probabilities of the timed folds.

    """

    segments: int
    metrics: int
    leaky_scaler: bool
    tolerance: float
    fast_s: float
    baseline_s: float
    timed_folds: int
    ratio: float
    largest_difference: float


def make_segments(segments: int, metrics: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return skewed, correlated metrics (K, D) and labels (K,) of which a third are true."""
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((segments, 8))
    mixed = base @ rng.standard_normal((8, metrics)) / 2 + rng.standard_normal((segments, metrics))
    labels = rng.random(segments) < 1.0 / (1.0 + np.exp(1.0 - 2.0 * base[:, 0]))
    return np.exp(mixed / 2), labels


def measure(
    *,
    segments: int = SEGMENTS,
    metrics: int = METRICS,
    timed_folds: int = TIMED_FOLDS,
    leaky_scaler: bool = False,
    tolerance: float = 1e-12,
    seed: int = 0,
) -> LeaveOneOutTiming:
    """Time both and compare their predictions."""
    values, labels = make_segments(segments, metrics, seed=seed)
    leave_one_out(values[:200], labels[:200])  # threads and libraries are warm
    start = time.perf_counter()
    fast = leave_one_out(values, labels, leaky_scaler=leaky_scaler)
    fast_s = time.perf_counter() - start
    folds = np.random.default_rng(seed).permutation(segments)[:timed_folds]
    start = time.perf_counter()
    expected = refit(values, labels, folds, leaky_scaler=leaky_scaler, tolerance=tolerance)
    baseline_s = (time.perf_counter() - start) * segments / len(folds)
    return LeaveOneOutTiming(
        segments=segments,
        metrics=metrics,
        leaky_scaler=leaky_scaler,
        tolerance=tolerance,
        fast_s=fast_s,
        baseline_s=baseline_s,
        timed_folds=len(folds),
        ratio=baseline_s / fast_s,
        largest_difference=float(np.abs(fast.probability[folds] - expected).max()),
    )


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one JSON object a comparison: both scaler modes, both tolerances."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.leave_one_out')
    parser.add_argument('--segments', type=int, default=SEGMENTS)
    parser.add_argument(
        '--folds', type=int, default=TIMED_FOLDS, help='on which refitting is timed'
    )
    options = parser.parse_args(arguments)
    for tolerance in (1e-12, 1e-4):
        for leaky_scaler in (False, True):
            timing = measure(
                segments=options.segments,
                timed_folds=options.folds,
                leaky_scaler=leaky_scaler,
                tolerance=tolerance,
            )
            print(json.dumps(asdict(timing)))
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
