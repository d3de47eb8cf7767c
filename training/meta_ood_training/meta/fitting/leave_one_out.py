"""
Exact leave-one-segment-out predictions of logistic regression, all folds at once.

Leaving one segment out of thousands hardly moves the minimum. So every fold starts at the full
solution, takes its first Newton step in closed form (rank-one downdate of the shared Cholesky
factor), and is then corrected with its own exact gradient, which for hundreds of folds together
is two matrix products. A fold is finished when its next step could not move its logit by 1e-8.
"""

from __future__ import annotations

from dataclasses import dataclass

from meta_ood_training.meta.fitting.logistic_regression import (
    factorise_hessian,
    fit_logistic_regression,
    predict_logistic_regression,
)
from meta_ood_training.meta.fitting.standardization import (
    check_training_segments,
    fit_standardization,
    Standardization,
)
import numpy as np
from scipy.linalg import cho_solve
from scipy.special import expit
import torch

_LOGIT_TOLERANCE = 1e-8
_MAX_ROUNDS = 12
_FOLDS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """
    Predictions for segments that the classifier has not seen.

    Parameters
    ----------
    folds : ndarray of shape (F,), int64
        The segments left out, one each.
    probability : ndarray of shape (F,), float64
        P(true OoD) of each left-out segment.
    refitted : int
        Folds that the shared factor did not serve and that were fitted one by one.

    """

    folds: np.ndarray
    probability: np.ndarray
    rounds: int
    refitted: int
    logit_error: float


def leave_one_out(
    metrics: np.ndarray,
    is_true_ood: np.ndarray,
    *,
    strength: float = 1.0,
    leaky_scaler: bool = False,
    folds: np.ndarray | None = None,
) -> LeaveOneOut:
    """
    Predict each segment with the logistic regression fitted on all others, exactly.

    Parameters
    ----------
    metrics : ndarray of shape (K, D), float64
        Segment metrics, not standardised; K >= 2.
    is_true_ood : ndarray of shape (K,), bool
        The positive class; both classes must occur.
    leaky_scaler : bool
        True: z-scores over all segments, the left-out one included, as published. False: the
        z-scores of a fold come from its own segments.
    folds : ndarray of shape (F,), int64, or None
        The segments to leave out, one at a time; None means every one.

    """
    check_training_segments(metrics, is_true_ood)
    if len(metrics) < 2:
        raise ValueError(f'leave-one-out needs at least 2 segments, got {len(metrics)}. Add some.')
    scaler = fit_standardization(metrics)
    problem = _Problem(scaler.apply(metrics), is_true_ood, strength, leaky_scaler)
    chosen = np.arange(len(metrics)) if folds is None else np.asarray(folds, dtype=np.int64)
    weights, error, rounds = _solve(problem, chosen)
    logit = np.einsum('fd,fd->f', problem.x[chosen], weights)
    probability = expit(logit)
    slow = np.flatnonzero(~(error <= _LOGIT_TOLERANCE))
    for fold in slow:
        probability[fold] = _refit(metrics, is_true_ood, chosen[fold], scaler, problem)
    error[slow] = 0.0
    worst = float(error.max()) if len(error) else 0.0
    return LeaveOneOut(chosen, probability, rounds, len(slow), worst)


class _Problem:
    """What the folds share: z-scores, the full solution, its Hessian, each fold's own scaler."""

    def __init__(
        self, z: np.ndarray, is_true_ood: np.ndarray, strength: float, leaky: bool
    ) -> None:
        self.strength = strength
        self.leaky = leaky
        self.full = fit_logistic_regression(z, is_true_ood, strength=strength)
        self.x = np.column_stack([z, np.ones(len(z))])
        self.target = is_true_ood.astype(np.float64)
        probability = expit(self.x @ self.full)
        self.factor = factorise_hessian(self.x, probability, strength)
        self.curvature = strength * probability * (1.0 - probability)
        self.residual = strength * (probability - self.target)

    def fold_scalers(self, folds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return shift and scale of each fold's z-scores, in units of the common z-scores."""
        z = self.x[folds, :-1]
        if self.leaky:
            return np.zeros_like(z), np.ones_like(z)
        count = len(self.x)
        shift = -z / (count - 1)
        share = z**2 / (count - 1)
        variance = count / (count - 1) * (1.0 - share)
        # all variation of the column was in the left-out row: 1 - share is then rounding
        constant = variance <= 1e-9
        # a column without variation at all has z = 0, share = 0: any scale serves
        return shift, np.where(constant, 1.0, np.sqrt(np.maximum(variance, 1e-9)))


def _penalty_gradient(weights: np.ndarray, shift: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """
    Return the gradient of |w'|^2 / 2 of each fold in the common coordinates.

    A fold's own weights are w' = scale * u and intercept c + u . shift, where u, c multiply the
    common z-scores: so only this penalty, and no data, depends on the fold's scaler.
    """
    slopes = weights[:, :-1]
    intercept = weights[:, -1] + np.einsum('fd,fd->f', slopes, shift)
    return np.column_stack([scale**2 * slopes + shift * intercept[:, None], intercept])


def _solve(problem: _Problem, folds: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Return weights (F, D + 1), estimated logit errors (F,) and the number of rounds."""
    x_left = problem.x[folds]
    solved = cho_solve(problem.factor, x_left.T).T
    leverage = np.einsum('fd,fd->f', x_left, solved)
    curvature = problem.curvature[folds]
    room = np.maximum(1.0 - curvature * leverage, 1e-12)
    length = np.sqrt(leverage / room)
    shift, scale = problem.fold_scalers(folds)

    def newton_step(gradient: np.ndarray, rows: np.ndarray) -> np.ndarray:
        step = cho_solve(problem.factor, gradient.T).T
        along = np.einsum('fd,fd->f', x_left[rows], step) * curvature[rows] / room[rows]
        return step + along[:, None] * solved[rows]

    weights = np.repeat(problem.full[None], len(folds), axis=0)
    everything = np.arange(len(folds))
    # gradient at the full solution: its own gradient is 0, so only what changed remains
    gradient = _penalty_gradient(weights, shift, scale) - problem.full
    gradient -= problem.residual[folds, None] * x_left
    step = newton_step(gradient, everything)
    weights -= step
    decrement = np.sqrt(np.maximum(np.einsum('fd,fd->f', gradient, step), 0.0))
    error = np.where(decrement * length <= _LOGIT_TOLERANCE, decrement * length, np.inf)
    active = np.flatnonzero(np.isinf(error))
    rounds = 0
    data = _DataGradient(problem)
    while len(active) and rounds < _MAX_ROUNDS:
        rounds += 1
        for begin in range(0, len(active), _FOLDS_AT_ONCE):
            rows = active[begin : begin + _FOLDS_AT_ONCE]
            gradient = data(weights[rows], folds[rows])
            gradient += _penalty_gradient(weights[rows], shift[rows], scale[rows])
            step = newton_step(gradient, rows)
            weights[rows] -= step
            new = np.sqrt(np.maximum(np.einsum('fd,fd->f', gradient, step), 0.0))
            # steps with a fixed Hessian shrink geometrically: what is left is the tail
            rate = np.clip(new / np.maximum(decrement[rows], 1e-300), 0.0, 1.0)
            tail = new * length[rows] * rate / np.maximum(1.0 - rate, 1e-3)
            floor = new * length[rows] <= _LOGIT_TOLERANCE / 100
            error[rows] = np.where(floor, new * length[rows], tail)
            decrement[rows] = new
        error[~np.isfinite(error)] = np.inf
        active = active[error[active] > _LOGIT_TOLERANCE]
    return weights, error, rounds


class _DataGradient:
    """The exact gradient of the data term for many folds, as two matrix products."""

    def __init__(self, problem: _Problem) -> None:
        self.x = torch.from_numpy(problem.x)
        self.target = torch.from_numpy(problem.target)[:, None]
        self.strength = problem.strength

    def __call__(self, weights: np.ndarray, folds: np.ndarray) -> np.ndarray:
        residual = torch.sigmoid_(self.x @ torch.from_numpy(weights).T)
        residual -= self.target
        residual[torch.from_numpy(folds), torch.arange(len(folds))] = 0.0
        return (residual.T @ self.x).mul_(self.strength).numpy()


def _refit(
    metrics: np.ndarray,
    is_true_ood: np.ndarray,
    left_out: int,
    scaler: Standardization,
    problem: _Problem,
) -> float:
    """Return the probability of one left-out segment by a fit of its own."""
    kept = np.arange(len(metrics)) != left_out
    own = scaler if problem.leaky else fit_standardization(metrics[kept])
    weights = fit_logistic_regression(
        own.apply(metrics[kept]), is_true_ood[kept], strength=problem.strength, start=problem.full
    )
    left = own.apply(metrics[left_out : left_out + 1])
    return float(predict_logistic_regression(left, weights)[0])
