"""A method that a node can serve -> what a bundle keeps of it: state, and a scale to [0, 1]."""

from collections.abc import Iterable
from dataclasses import replace

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.scorers import FittedScore, Scorer, ScoreScale
from meta_ood_training.datasets import IGNORED, OOD
from meta_ood_training.methods.method import Method, Setup
from meta_ood_training.methods.observation import Observation
from meta_ood_training.scores import ScoreHistogram
import numpy as np

#: Shares at which the scale is kept: 1 - 10^-d, ever finer towards 1, where thresholds lie.
LEVELS = 1.0 - 10.0 ** -np.linspace(0.0, 6.0, 601)
#: Threshold of a bundle whose score was just fitted: one in a hundred pixels passes.
THRESHOLD = 0.99


def fit_scale(scorer: Scorer, observations: Iterable[Observation]) -> ScoreScale:
    """
    Return the share of in-distribution pixels below each score.

    Parameters
    ----------
    observations : iterable of Observation
        Pixels labelled OOD or IGNORED do not count.

    """
    histogram = ScoreHistogram()
    for one in observations:
        counted = (one.targets != IGNORED) & (one.targets != OOD)
        scores = scorer.score(one.image, one.logits, one.features)[counted]
        histogram.update(scores, np.zeros(scores.shape, dtype=bool))
    counts = histogram.counts()
    values, pixels = counts.thresholds[::-1], counts.negatives[::-1]
    if len(values) < 2:
        raise ValueError(
            f'the scale of {scorer.name} needs in-distribution pixels of different scores, got '
            f'{int(pixels.sum())} pixels. Give labelled street frames.'
        )
    below = np.concatenate([[0], np.cumsum(pixels)[:-1]]) / pixels.sum()
    places = np.unique(np.append(np.searchsorted(below, LEVELS), len(values) - 1))
    places = places[places < len(values)]
    shares = below[places].astype(np.float32)
    shares[-1] = 1.0
    return ScoreScale(np.ascontiguousarray(values[places]), shares)


def fit_served(method: Method, setup: Setup) -> FittedScore:
    """
    Return what a bundle keeps of a method.

    Parameters
    ----------
    method : Method
        One that is served.
    setup : Setup
        With the labelled frames.

    """
    scorer = method.build(setup)
    scale = fit_scale(scorer, setup.walk(method.name))
    return FittedScore(method.name, scorer.state(), scale, setup.bundle.network_sha256)


def with_score(bundle: Bundle, fitted: FittedScore, *, threshold: float = THRESHOLD) -> Bundle:
    """
    Return a bundle that serves a fitted score, without the meta classifiers of its old one.

    Parameters
    ----------
    threshold : float
        1 - its share of in-distribution pixels passes.

    """
    return replace(
        bundle,
        score=fitted.name,
        fitted_score=fitted,
        entropy_threshold=threshold,
        core_threshold=0.0,
        meta_classifiers=(),
        digest='',
    )
