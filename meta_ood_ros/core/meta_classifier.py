"""Segment metrics -> ood_probability, by logistic regression or a small neural network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import json
from pathlib import Path

from meta_ood_ros.core.segment_metrics import SegmentMetrics
import numpy as np
from safetensors import safe_open, SafetensorError
from safetensors.numpy import save

KINDS = ('logistic_regression', 'neural_network')
_FORMAT = 'meta_ood.meta_classifiers/1'

#: Largest ood_probability: float32 would make 1 of a logit above 17.3, and a meta threshold of 1
#: could not reject such a segment.
LARGEST_PROBABILITY = np.nextafter(np.float32(1.0), np.float32(0.0))


@dataclass(frozen=True, eq=False)
class MetaClassifier:
    """
    A fitted meta classifier: standardization, dense layers with ReLU between, one logit.

    Logistic regression is one layer; the network of Runtas & Petkovic (2025, table 1) has four.

    Parameters
    ----------
    kind : str
        'logistic_regression' or 'neural_network'.
    layers : tuple of (ndarray of shape (out, in), ndarray of shape (out,))
        Weights and biases in order; the last layer has one output, the logit of true OoD.
    mean, scale : ndarray of shape (D,)
        The metrics enter as (metrics - mean) / scale.
    metric_names : tuple of D str
        The columns it was fitted on, in order.
    entropy_threshold : float
        The threshold at which its segments were found, in (0, 1].
    calibration : (float, float)
        Slope and intercept on the logit, fitted on held-out predictions; (1, 0) changes nothing.

    Raises
    ------
    ValueError
        The shapes do not fit together.

    """

    kind: str
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    mean: np.ndarray
    scale: np.ndarray
    metric_names: tuple[str, ...]
    entropy_threshold: float
    calibration: tuple[float, float] = (1.0, 0.0)

    def __post_init__(self) -> None:
        """Check that the layers form a chain from D metrics to one logit."""
        if self.kind not in KINDS:
            raise ValueError(f'kind must be one of {", ".join(KINDS)}, got {self.kind!r}.')
        width = len(self.metric_names)
        shapes: list[tuple[int, ...]] = [(width,), (width,)]
        got = [self.mean.shape, self.scale.shape]
        for index, (weight, bias) in enumerate(self.layers):
            outputs = 1 if index == len(self.layers) - 1 else weight.shape[0]
            shapes += [(outputs, width), (outputs,)]
            got += [weight.shape, bias.shape]
            width = outputs
        if not self.layers or got != shapes:
            raise ValueError(
                f'meta classifier must map {len(self.metric_names)} metrics to one logit by '
                f'arrays of shape {shapes}, got {got}. Fit it again: meta-ood-train fit-meta'
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
            The metrics are not those the classifier was fitted on.

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
        activation = (metrics - self.mean) / self.scale
        for index, (weight, bias) in enumerate(self.layers):
            activation = activation @ weight.T + bias
            if index < len(self.layers) - 1:
                activation = np.maximum(activation, 0.0)
        slope, intercept = self.calibration
        logit = slope * activation[:, 0] + intercept
        # exp of a non-positive number only: no overflow at either end
        small = np.exp(-np.abs(logit))
        probability = (np.where(logit >= 0, 1.0, small) / (1.0 + small)).astype(np.float32)
        return np.minimum(probability, LARGEST_PROBABILITY)

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


def save_meta_classifiers(path: str | Path, classifiers: Sequence[MetaClassifier]) -> None:
    """
    Write classifiers, one for each entropy threshold, into one safetensors file.

    Parameters
    ----------
    path : str or Path
        File to write; an existing one is replaced.
    classifiers : sequence of MetaClassifier
        In any order; each with an entropy threshold of its own.

    Raises
    ------
    ValueError
        Two of them belong to the same entropy threshold.

    """
    thresholds = [one.entropy_threshold for one in classifiers]
    if len(set(thresholds)) != len(thresholds):
        raise ValueError(
            f'each meta classifier needs its own entropy threshold, got {thresholds}. Keep one.'
        )
    tensors: dict[str, np.ndarray] = {}
    records = []
    for index, one in enumerate(classifiers):
        tensors[f'{index}.mean'] = np.ascontiguousarray(one.mean, dtype=np.float64)
        tensors[f'{index}.scale'] = np.ascontiguousarray(one.scale, dtype=np.float64)
        for layer, (weight, bias) in enumerate(one.layers):
            tensors[f'{index}.{layer}.weight'] = np.ascontiguousarray(weight, dtype=np.float64)
            tensors[f'{index}.{layer}.bias'] = np.ascontiguousarray(bias, dtype=np.float64)
        records.append(
            {
                'kind': one.kind,
                'layers': len(one.layers),
                'metric_names': list(one.metric_names),
                'entropy_threshold': one.entropy_threshold,
                'calibration': list(one.calibration),
            }
        )
    # One key only: safetensors writes several in random order, and the bundle's digest would vary.
    header = {_FORMAT: json.dumps(records)}
    Path(path).write_bytes(save(tensors, metadata=header))


def load_meta_classifiers(path: str | Path) -> tuple[MetaClassifier, ...]:
    """
    Read what `save_meta_classifiers` wrote.

    Parameters
    ----------
    path : str or Path
        The safetensors file.

    Raises
    ------
    ValueError
        The file is damaged or is no file of meta classifiers.

    """
    try:
        with safe_open(str(path), framework='numpy') as file:
            header = file.metadata() or {}
            if _FORMAT not in header:
                raise ValueError(f'a header without {_FORMAT!r}')
            return tuple(
                _read_classifier(file, index, record)
                for index, record in enumerate(json.loads(header[_FORMAT]))
            )
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path} must be a file of meta classifiers, got: {error}. '
            'Fit it again: meta-ood-train fit-meta'
        ) from error


def _read_classifier(file: safe_open, index: int, record: dict) -> MetaClassifier:
    slope, intercept = record['calibration']
    return MetaClassifier(
        kind=record['kind'],
        layers=tuple(
            (file.get_tensor(f'{index}.{k}.weight'), file.get_tensor(f'{index}.{k}.bias'))
            for k in range(record['layers'])
        ),
        mean=file.get_tensor(f'{index}.mean'),
        scale=file.get_tensor(f'{index}.scale'),
        metric_names=tuple(record['metric_names']),
        entropy_threshold=float(record['entropy_threshold']),
        calibration=(float(slope), float(intercept)),
    )
