"""z-scores -> the logistic regression of scikit-learn's liblinear, by damped Newton steps."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit

# a Newton decrement this small moves no logit by more than about 1e-11
_DECREMENT = 1e-12
_MAX_STEPS = 100


def fit_logistic_regression(
    z: np.ndarray,
    is_true_ood: np.ndarray,
    *,
    strength: float = 1.0,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """
    Return the weights that minimise |w|^2 / 2 + C sum log(1 + exp(-y w x)), intercept included.

    Parameters
    ----------
    z : ndarray of shape (K, D), float64
        Standardised segment metrics.
    is_true_ood : ndarray of shape (K,), bool
        The positive class.
    start : ndarray of shape (D + 1,) or None
        Weights to start from, e.g. those of a neighbouring fold.

    Returns
    -------
    ndarray of shape (D + 1,), float64
        D coefficients, then the intercept. The intercept is penalised too, as liblinear does.

    Raises
    ------
    ValueError
        A z-score is NaN or infinite.
    RuntimeError
        The steps do not converge; the objective is strictly convex, so this is a numerical limit.

    """
    if not np.isfinite(z).all():
        raise ValueError(
            f'z-scores must be finite, got {int((~np.isfinite(z)).sum())} that are not. '
            'Leave those segments out.'
        )
    x = np.column_stack([z, np.ones(len(z))])
    target = is_true_ood.astype(np.float64)
    weights = np.zeros(x.shape[1]) if start is None else np.array(start, dtype=np.float64)
    margin = x @ weights
    value = _objective(weights, margin, target, strength)
    for _ in range(_MAX_STEPS):
        probability = expit(margin)
        gradient = weights + strength * (x.T @ (probability - target))
        step = cho_solve(factorise_hessian(x, probability, strength), gradient)
        decrement = float(gradient @ step)
        slope = x @ step
        size = 1.0
        while size > 1e-10:
            proposal = weights - size * step
            new_margin = margin - size * slope
            new_value = _objective(proposal, new_margin, target, strength)
            # Armijo; near the minimum the difference drowns in rounding, so allow for that
            if new_value <= value - 1e-4 * size * decrement + 1e-12 * abs(value):
                break
            size /= 2
        weights, margin, value = proposal, new_margin, new_value
        if decrement < _DECREMENT**2 or (size == 1.0 and decrement < 1e-20 * (1 + value)):
            return weights
    raise RuntimeError(
        f'logistic regression must converge within {_MAX_STEPS} Newton steps, got a decrement of '
        f'{decrement:.2e}. Lower C, or remove metrics that are almost constant.'
    )


def factorise_hessian(
    x: np.ndarray, probability: np.ndarray, strength: float
) -> tuple[np.ndarray, bool]:
    """Return the Cholesky factor of I + C sum p (1 - p) x x^T, as scipy's cho_factor gives it."""
    weighted = x * (strength * probability * (1.0 - probability))[:, None]
    hessian = x.T @ weighted
    hessian[np.diag_indices_from(hessian)] += 1.0
    return cho_factor(hessian, lower=True)


def predict_logistic_regression(z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return P(true OoD) of each row, shape (K,), float64."""
    return expit(z @ weights[:-1] + weights[-1])


def _objective(
    weights: np.ndarray, margin: np.ndarray, target: np.ndarray, strength: float
) -> float:
    loss = np.logaddexp(0.0, margin) - target * margin
    return float(0.5 * weights @ weights + strength * loss.sum())
