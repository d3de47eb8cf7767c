"""Segments of one entropy threshold -> a fitted meta classifier and its honest predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from meta_ood_ros.core.meta_classifier import LARGEST_PROBABILITY, MetaClassifier
from meta_ood_ros.core.meta_models.boosted_trees import BoostedTrees
from meta_ood_ros.core.meta_models.dense_layers import DenseLayers
from meta_ood_training.meta.fitting.block_gaps import find_gaps
from meta_ood_training.meta.fitting.calibration import (
    choose_operating_point,
    cross_calibrate,
    fit_calibration,
    OperatingPoint,
)
from meta_ood_training.meta.fitting.cross_validation import (
    assign_folds,
    cross_validate,
    OutOfFold,
)
from meta_ood_training.meta.fitting.gradient_boosting import BoostingSettings, grow_trees
from meta_ood_training.meta.fitting.logistic_regression import fit_logistic_regression
from meta_ood_training.meta.fitting.neural_meta import NeuralSettings, train_neural_networks
from meta_ood_training.meta.fitting.standardization import (
    check_training_segments,
    fit_standardization,
    Standardization,
)
from meta_ood_training.scores.groups import join_groups
from meta_ood_training.segments.segment_set import SegmentSet
import numpy as np
from scipy.special import expit


@dataclass(frozen=True)
class MetaFitSettings:
    """
    How meta classifiers are fitted and judged.

    Parameters
    ----------
    gap : float
        Part of a block next to a held-out one that is not fitted on either, see `find_gaps`.
    ignored_metrics : tuple of str
        Metrics, or patterns of them (`centroid_*`), whose weight is 0.

    """

    strength: float = 1.0
    neural: NeuralSettings = field(default_factory=NeuralSettings)
    boosting: BoostingSettings = field(default_factory=BoostingSettings)
    leaky_scaler: bool = False
    folds: int = 10
    group_by: str = 'group'
    gap: float = 0.2
    calibrate: bool = True
    rule: str = 'max_f1'
    bound: float = 0.05
    seed: int = 0
    ignored_metrics: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class MetaFit:
    """
    A classifier with what it predicts for segments it was not fitted on.

    Parameters
    ----------
    group : ndarray of shape (K,), int64
        The groups.
    probability : ndarray of shape (K,), float64
        Grouped out-of-fold P(true OoD); calibrated by the other folds where asked for.
    average : ndarray of shape (D,), float64
        Mean of the metrics fitted on.

    """

    classifier: MetaClassifier
    grouped: OutOfFold
    group: np.ndarray
    probability: np.ndarray
    average: np.ndarray
    operating_point: OperatingPoint
    constant_metrics: tuple[str, ...]

    @property
    def meta_threshold(self) -> float:
        """
        Return the operating point as ood_probability, calibration included, in [0, 1].

        It is 1 only where none is to be accepted: a very large logit gives the largest
        probability that the classifier predicts.
        """
        slope, intercept = self.classifier.calibration
        logit = slope * self.operating_point.logit + intercept
        return 1.0 if logit == np.inf else min(float(expit(logit)), float(LARGEST_PROBABILITY))


def fit_meta_classifier(
    segments: SegmentSet,
    kind: str,
    settings: MetaFitSettings | None = None,
    *,
    on_step: Callable[[int, int], None] | None = None,
) -> MetaFit:
    """
    Fit one meta classifier and judge it by grouped cross-validation.

    Parameters
    ----------
    segments : SegmentSet
        At least one true and one false segment, of at least two groups; finite metrics.

    """
    settings = settings or MetaFitSettings()
    metrics, labels = used_metrics(segments, settings), segments.is_true_ood
    check_training_segments(metrics, labels, names=segments.metric_names)
    group = segment_groups(segments, settings.group_by)
    # each domain is left out on its own; smaller groups share a fold
    folds = len(group) if settings.group_by == 'split' else settings.folds
    fold = assign_folds(group, labels, folds, seed=settings.seed)
    grouped = cross_validate(
        metrics,
        labels,
        fold,
        gap=segment_gaps(segments, fold, settings),
        kind=kind,
        strength=settings.strength,
        neural=settings.neural,
        boosting=settings.boosting,
        leaky_scaler=settings.leaky_scaler,
        on_step=on_step,
    )
    if grouped.one_class_folds:
        raise ValueError(
            'grouped cross-validation needs true and false segments in several groups, got '
            f'{grouped.one_class_folds} of {len(np.unique(fold))} folds without which the others '
            'hold one kind only. Add recordings of other places, cut them into more groups '
            '(segments --block-seconds 2), or pass --group-by image or --gap 0.'
        )
    probability = expit(grouped.logit)
    calibration = (1.0, 0.0)
    if settings.calibrate:
        probability = cross_calibrate(grouped.logit, labels, fold)
        calibration = fit_calibration(grouped.logit, labels)
    scaler = fit_standardization(metrics)
    return MetaFit(
        classifier=MetaClassifier(
            kind=kind,
            model=_fit_model(metrics, labels, kind, settings, grouped, scaler),
            metric_names=segments.metric_names,
            entropy_threshold=segments.entropy_threshold,
            calibration=calibration,
        ),
        grouped=grouped,
        group=group,
        probability=probability,
        average=scaler.mean,
        operating_point=choose_operating_point(
            segments, grouped.logit, rule=settings.rule, bound=settings.bound
        ),
        constant_metrics=tuple(
            name
            for name, constant in zip(segments.metric_names, scaler.constant, strict=True)
            if constant
        ),
    )


def _fit_model(
    metrics: np.ndarray,
    labels: np.ndarray,
    kind: str,
    settings: MetaFitSettings,
    grouped: OutOfFold,
    scaler: Standardization,
) -> DenseLayers | BoostedTrees:
    """Fit what is served, on all segments; no column that is constant but for rounding may act."""
    if kind == 'gradient_boosting':
        steady = np.where(scaler.constant, 0.0, metrics)
        return grow_trees(
            steady, labels, grouped.fold, gap=grouped.gap, settings=settings.boosting
        )
    z = scaler.apply(metrics)
    if kind == 'logistic_regression':
        weights = fit_logistic_regression(z, labels, strength=settings.strength)
        weights[:-1][scaler.constant] = 0.0
        return DenseLayers(((weights[None, :-1], weights[-1:]),), scaler.mean, scaler.scale)
    layers = train_neural_networks([z], [labels], settings.neural)[0]
    layers[0][0][:, scaler.constant] = 0.0
    return DenseLayers(layers, scaler.mean, scaler.scale)


def used_metrics(segments: SegmentSet, settings: MetaFitSettings) -> np.ndarray:
    """Return the metrics, (K, D), those that are ignored as a constant, whose weight is 0."""
    if not settings.ignored_metrics:
        return segments.metrics
    ignored = find_metrics(segments.metric_names, settings.ignored_metrics)
    return np.where(ignored, 0.0, segments.metrics)


def find_metrics(names: Sequence[str], patterns: Sequence[str]) -> np.ndarray:
    """Return which metrics match any of the patterns, (D,) bool; each must match one."""
    chosen = np.zeros(len(names), dtype=bool)
    for pattern in patterns:
        matches = np.array([fnmatchcase(name, pattern) for name in names])
        if not matches.any():
            raise ValueError(
                f'--ignore-metric must name a segment metric, got {pattern!r}. '
                f'They are {", ".join(names)}.'
            )
        chosen |= matches
    if chosen.all():
        raise ValueError('--ignore-metric must leave a metric, got patterns of all. Name fewer.')
    return chosen


def segment_groups(segments: SegmentSet, group_by: str) -> np.ndarray:
    """Return the group number of each segment, (K,) int64, by 'image', 'group' or 'split'."""
    if group_by == 'image':
        return segments.segment_frame
    if group_by == 'split':
        return np.unique(segments.frame_split, return_inverse=True)[1][segments.segment_frame]
    if group_by != 'group':
        raise ValueError(
            f"group_by must be 'group', 'image' or 'split', got {group_by!r}. 'group' joins "
            "sequence block and pasted object, 'split' all that `segments --split` named alike."
        )
    return join_groups(list(segments.frame_group))[segments.segment_frame]


def segment_gaps(
    segments: SegmentSet, fold: np.ndarray, settings: MetaFitSettings
) -> np.ndarray | None:
    """Return which segments each fold leaves out beside those held out, (N, K) bool, if any."""
    if settings.group_by != 'group' or not settings.gap:
        return None
    frame_fold = np.full(len(segments.frame_name), -1, dtype=np.int64)
    frame_fold[segments.segment_frame] = fold
    folds = int(fold.max()) + 1
    names, groups = segments.frame_name.tolist(), segments.frame_group.tolist()
    gaps = find_gaps(names, groups, frame_fold, settings.gap, folds=folds)
    return gaps[:, segments.segment_frame]
