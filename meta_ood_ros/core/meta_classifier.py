"""Segment metrics -> ood_probability, by logistic regression, a small network or trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meta_ood_ros.core.error_text import brief
from meta_ood_ros.core.meta_models.boosted_trees import BoostedTrees
from meta_ood_ros.core.meta_models.dense_layers import DenseLayers
from meta_ood_ros.core.meta_models.finite_arrays import check_finite, FIT_AGAIN
from meta_ood_ros.core.segment_metrics import SegmentMetrics
import numpy as np

#: Each kind, and what computes its logit.
MODELS: dict[str, type[DenseLayers | BoostedTrees]] = {
    'logistic_regression': DenseLayers,
    'neural_network': DenseLayers,
    'gradient_boosting': BoostedTrees,
}
KINDS = tuple(MODELS)

#: Largest ood_probability: float32 would make 1 of a logit above 17.3, and a meta threshold of 1
#: could not reject such a segment.
LARGEST_PROBABILITY = np.nextafter(np.float32(1.0), np.float32(0.0))


@dataclass(frozen=True, eq=False)
class MetaClassifier:
    """
    A fitted meta classifier: a model that gives one logit, and what belongs to it.

    Parameters
    ----------
    kind : str
        'logistic_regression', 'neural_network' or 'gradient_boosting'.
    model : DenseLayers or BoostedTrees
        Metrics -> logit of true OoD; which of the two follows from the kind.
    metric_names : tuple of D str
        The columns it was fitted on, in order.
    entropy_threshold : float
        The threshold at which its segments were found, in (0, 1].
    calibration : (float, float)
        Slope and intercept on the logit, fitted on held-out predictions; (1, 0) changes nothing.
    network_sha256 : str
        `Bundle.network_sha256` of the network whose segments it was fitted on; '' where unknown.
    score : str
        What was thresholded into its segments.

    Raises
    ------
    ValueError
        The shapes do not fit together, or a number is none.

    """

    kind: str
    model: DenseLayers | BoostedTrees
    metric_names: tuple[str, ...]
    entropy_threshold: float
    calibration: tuple[float, float] = (1.0, 0.0)
    network_sha256: str = ''
    score: str = 'entropy'

    def __post_init__(self) -> None:
        """Check that the model is of its kind, and maps D metrics to one logit."""
        if self.kind not in KINDS:
            raise ValueError(f'kind must be one of {", ".join(KINDS)}, got {self.kind!r}.')
        if not isinstance(self.model, MODELS[self.kind]):
            raise ValueError(
                f'model of {self.kind} must be {MODELS[self.kind].__name__}, got '
                f'{type(self.model).__name__}. {FIT_AGAIN}'
            )
        self.model.check(self.metric_names)
        check_finite({'calibration': self.calibration})
        threshold = self.entropy_threshold
        if isinstance(threshold, bool) or not 0.0 < threshold <= 1.0:
            raise ValueError(
                f'entropy_threshold of a meta classifier must lie in (0, 1], got '
                f'{brief(threshold)}. {FIT_AGAIN}'
            )

    def predict(self, metrics: SegmentMetrics | np.ndarray) -> np.ndarray:
        """
        Return the probability that each segment is a true OoD object.

        Parameters
        ----------
        metrics : SegmentMetrics or ndarray of shape (K, D), float64
            One row a segment, in the order of `metric_names`.

        Returns
        -------
        ndarray of shape (K,), float32
            ood_probability, in [0, 1): at most LARGEST_PROBABILITY, so that a meta threshold
            of 1 accepts none, as 0 accepts all.

        Raises
        ------
        ValueError
            The metrics are not those the classifier was fitted on, or not numbers, or so far
            from these that no probability follows.

        """
        if isinstance(metrics, SegmentMetrics):
            self._check_names(metrics.names)
            metrics = metrics.values
        metrics = np.asarray(metrics, dtype=np.float64)
        if metrics.ndim != 2 or metrics.shape[1] != len(self.metric_names):
            raise ValueError(
                f'metrics must have shape (K, {len(self.metric_names)}), got {metrics.shape}. '
                'Pass one row a segment, in the order of metric_names.'
            )
        logit = self._logits(metrics)
        if np.isnan(logit).any():
            raise self._no_probability(metrics, int(np.argmax(np.isnan(logit))))
        # exp of a non-positive number only: no overflow at either end
        small = np.exp(-np.abs(logit))
        probability = (np.where(logit >= 0, 1.0, small) / (1.0 + small)).astype(np.float32)
        return np.minimum(probability, LARGEST_PROBABILITY)

    def _logits(self, metrics: np.ndarray) -> np.ndarray:
        with np.errstate(over='ignore', invalid='ignore'):
            slope, intercept = self.calibration
            logit: np.ndarray = slope * self.model.logits(metrics) + intercept
            return logit

    def _no_probability(self, metrics: np.ndarray, row: int) -> ValueError:
        wrong = np.flatnonzero(~np.isfinite(metrics[row]))
        if isinstance(self.model, BoostedTrees) or len(wrong):  # trees: finite in, finite out
            got = f'{self.metric_names[wrong[0]]} = {metrics[row, wrong[0]]}'
            advice = 'The network gave no numbers for this image'
        else:
            farthest = self.model.farthest_metric(metrics[row])
            got = f'{self.metric_names[farthest]} = {metrics[row, farthest]:g}'
            advice = 'Fit the meta classifier again: meta-ood-train fit-meta'
        return ValueError(
            f'ood_probability of segment {row + 1} must be a number, got NaN from {got}. {advice}.'
        )

    def _check_names(self, names: Sequence[str]) -> None:
        if tuple(names) == self.metric_names:
            return
        missing = [name for name in self.metric_names if name not in set(names)]
        raise ValueError(
            f'meta classifier expects {len(self.metric_names)} segment metrics '
            f'({self.metric_names[0]}, ...), the pipeline measures {len(names)}; '
            f'missing: {", ".join(missing[:5]) or "none, but the order differs"}. '
            'Fit it again: meta-ood-train fit-meta'
        )


def find_nearest_classifier(
    classifiers: Sequence[MetaClassifier], entropy_threshold: float
) -> MetaClassifier | None:
    """Return the classifier fitted nearest to the threshold, the lower one of two; or None."""
    return min(
        sorted(classifiers, key=lambda one: one.entropy_threshold),
        key=lambda one: round(abs(one.entropy_threshold - entropy_threshold), 6),
        default=None,
    )
