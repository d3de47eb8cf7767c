"""Standardised segment metrics -> logits, by a chain of dense layers with ReLU between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meta_ood_ros.core.meta_models.finite_arrays import check_finite, FIT_AGAIN
import numpy as np


@dataclass(frozen=True, eq=False)
class DenseLayers:
    """
    Standardization and layers: logistic regression is one, Runtas & Petkovic (2025) have four.

    Parameters
    ----------
    layers : tuple of (ndarray of shape (out, in), ndarray of shape (out,))
        Weights and biases in order; the last layer has one output, the logit of true OoD.
    mean, scale : ndarray of shape (D,)
        The metrics enter as (metrics - mean) / scale.

    """

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    mean: np.ndarray
    scale: np.ndarray

    def check(self, metric_names: Sequence[str]) -> None:
        """Refuse layers that form no chain from these metrics to one logit."""
        width = len(metric_names)
        shapes: list[tuple[int, ...]] = [(width,), (width,)]
        got = [self.mean.shape, self.scale.shape]
        for index, (weight, bias) in enumerate(self.layers):
            outputs = 1 if index == len(self.layers) - 1 else weight.shape[0]
            shapes += [(outputs, width), (outputs,)]
            got += [weight.shape, bias.shape]
            width = outputs
        if not self.layers or got != shapes:
            raise ValueError(
                f'meta classifier must map {len(metric_names)} metrics to one logit by '
                f'arrays of shape {shapes}, got {got}. {FIT_AGAIN}'
            )
        arrays = {'mean': self.mean, 'scale': self.scale}
        for index, (weight, bias) in enumerate(self.layers):
            arrays |= {f'weight of layer {index}': weight, f'bias of layer {index}': bias}
        check_finite(arrays)
        if not (self.scale > 0).all():
            raise ValueError(
                f'scale of a meta classifier must be positive, got {self.scale.min()} for '
                f'{metric_names[int(np.argmin(self.scale))]}. {FIT_AGAIN}'
            )

    def logits(self, metrics: np.ndarray) -> np.ndarray:
        """Return the logits, (K,) float64, of metrics (K, D) float64."""
        activation = (metrics - self.mean) / self.scale
        for index, (weight, bias) in enumerate(self.layers):
            activation = activation @ weight.T + bias
            if index < len(self.layers) - 1:
                activation = np.maximum(activation, 0.0)
        logits: np.ndarray = activation[:, 0]
        return logits

    def farthest_metric(self, row: np.ndarray) -> int:
        """Return which metric of a segment, (D,), lies farthest from those fitted on."""
        return int(np.argmax(np.abs((row - self.mean) / self.scale)))
