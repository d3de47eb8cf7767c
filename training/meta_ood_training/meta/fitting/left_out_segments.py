"""The published protocol: each segment predicted by a classifier fitted on all others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meta_ood_training.meta.fitting.fit import MetaFitSettings, used_metrics
from meta_ood_training.meta.fitting.leave_one_out import leave_one_out
from meta_ood_training.meta.fitting.neural_meta import (
    predict_neural_network,
    train_neural_networks,
)
from meta_ood_training.meta.fitting.standardization import fit_standardization
from meta_ood_training.segments.segment_set import SegmentSet
import numpy as np
from scipy.special import expit

#: The kinds that were published with this protocol.
LEFT_OUT_KINDS = ('logistic_regression', 'neural_network')
#: Folds x segments that the logistic regression is given: 20,000 segments are left out one and
#: all, of 200,000 a random 2,000.
FOLDS_TIMES_SEGMENTS = 20_000**2
# 64 folds of 2,000 x 75 float32 are 38 MB
_NEURAL_FOLDS_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class LeftOutPredictions:
    """
    Leave-one-segment-out predictions; neighbours in the same image leak into them.

    Parameters
    ----------
    rows : ndarray of shape (F,), int64
        The segments predicted.
    probability : ndarray of shape (F,), float64
        P(true OoD), not calibrated.
    logit_error : float
        Largest estimated distance from the exact minimum of a fold; 0 for the neural network.

    """

    rows: np.ndarray
    probability: np.ndarray
    logit_error: float


def predict_left_out_segments(
    segments: SegmentSet,
    kind: str,
    settings: MetaFitSettings,
    *,
    on_step: Callable[[int, int], None] | None = None,
) -> LeftOutPredictions:
    """
    Leave one segment out at a time.

    Parameters
    ----------
    kind : str
        'logistic_regression': exact, for all segments or, above 20,000, for a random part of
        them (FOLDS_TIMES_SEGMENTS); every fold is fitted on all others. 'neural_network': one
        training for every segment. There is no such protocol for 'gradient_boosting'.

    Raises
    ------
    ValueError
        Another kind.

    """
    if kind not in LEFT_OUT_KINDS:
        raise ValueError(
            f'kind must be one of {", ".join(LEFT_OUT_KINDS)} where single segments are left out, '
            f'got {kind!r}. Judge it by groups: cross_validate.'
        )
    count = len(segments)
    if kind == 'logistic_regression':
        rows = np.arange(count)
        if count**2 > FOLDS_TIMES_SEGMENTS:
            rng = np.random.default_rng(settings.seed)
            rows = np.sort(rng.choice(count, FOLDS_TIMES_SEGMENTS // count, replace=False))
        result = leave_one_out(
            used_metrics(segments, settings),
            segments.is_true_ood,
            strength=settings.strength,
            leaky_scaler=settings.leaky_scaler,
            folds=rows,
        )
        return LeftOutPredictions(rows, result.probability, result.logit_error)
    logits = np.empty(count)
    for begin in range(0, count, _NEURAL_FOLDS_AT_ONCE):
        block = np.arange(begin, min(begin + _NEURAL_FOLDS_AT_ONCE, count))
        logits[block] = _train_without(segments, block, settings)
        if on_step is not None:
            on_step(int(block[-1]) + 1, count)
    return LeftOutPredictions(np.arange(count), expit(logits), 0.0)


def _train_without(
    segments: SegmentSet, block: np.ndarray, settings: MetaFitSettings
) -> np.ndarray:
    """Return the logits of some segments, each by a network trained on all but that one."""
    metrics, labels = used_metrics(segments, settings), segments.is_true_ood
    everything = fit_standardization(metrics)
    inputs, targets, held_out = [], [], []
    for one in block:
        kept = np.arange(len(labels)) != one
        scaler = everything if settings.leaky_scaler else fit_standardization(metrics[kept])
        inputs.append(scaler.apply(metrics[kept]))
        targets.append(labels[kept])
        held_out.append(scaler.apply(metrics[[one]]))
    trained = train_neural_networks(inputs, targets, settings.neural)
    return np.array(
        [predict_neural_network(z, layers)[0] for z, layers in zip(held_out, trained, strict=True)]
    )
