"""Labelled frames -> flows at the layers of a network, and the weights that join them."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from meta_ood_training.datasets.sample import OOD
from meta_ood_training.methods.density.embeddings import EmbeddingSample
from meta_ood_training.methods.density.flow_fit import fit_flow, FlowPlan
from meta_ood_training.methods.density.flow_scorer import (
    check_noise,
    FlowMinimumScorer,
    FlowRegressionScorer,
    FlowScorer,
    NOISE,
)
from meta_ood_training.methods.density.real_nvp import RealNvp
from meta_ood_training.methods.fitted_file import load_state
from meta_ood_training.methods.layers import deep_layers, last_layer, LayerTap
from meta_ood_training.methods.method import MethodNeedsError, Setup
from meta_ood_training.methods.observation import Observation
from meta_ood_training.methods.own_pass import OwnPass
import numpy as np
from numpy.typing import NDArray
import torch

FLOW_EMBEDDINGS, REGRESSION_PIXELS = 100_000, 1000
"""Sampled a layer; pixels of each kind that a frame gives to the logistic regression at most."""


def _build(
    scorer: type[FlowScorer],
    setup: Setup,
    *,
    layers: Sequence[str] = (),
    embeddings: int = FLOW_EMBEDDINGS,
    iterations: int = FlowPlan.iterations,
    noise: float = NOISE,
    checkpoints: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> FlowScorer:
    """Return the scorer of some layers; by default of the last activation, or of the deep ones."""
    own, kept = _begin(scorer, setup, noise)
    if kept is not None:
        return kept
    is_of_one = scorer is FlowScorer
    names = tuple(layers) or (
        (last_layer(own.network),) if is_of_one else deep_layers(own.network)
    )
    flows = _fit_layers(setup, own, names, embeddings, iterations, checkpoints, tell)
    return scorer(own, flows, noise=noise)


build_flow, build_flow_minimum = partial(_build, FlowScorer), partial(_build, FlowMinimumScorer)
"""Setup and options -> the scorer of one layer, and of the minimum over layers."""


def build_flow_regression(
    setup: Setup,
    *,
    layers: Sequence[str] = (),
    embeddings: int = FLOW_EMBEDDINGS,
    iterations: int = FlowPlan.iterations,
    noise: float = NOISE,
    ood: Callable[[], Iterator[Observation]] | None = None,
    checkpoints: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> FlowScorer:
    """Return the scorer of all layers, joined by a regression on frames with OoD pixels."""
    own, kept = _begin(FlowRegressionScorer, setup, noise)
    if kept is not None:
        return kept
    if ood is None:
        raise MethodNeedsError(
            'flow_regression joins its layers by what tells OoD pixels, got no frames with such. '
            'Fit it before: meta-ood-train fit-score flow_regression --ood-data NAME=PATH'
        )
    names = tuple(layers) or tuple(deep_layers(own.network))
    flows = _fit_layers(setup, own, names, embeddings, iterations, checkpoints, tell)
    layered = FlowMinimumScorer(own, flows, noise=noise)
    weights = fit_regression(layered, ood(), seed=setup.seed)
    return FlowRegressionScorer(own, flows, noise=noise, weights=weights)


def _begin(
    scorer: type[FlowScorer], setup: Setup, noise: float
) -> tuple[OwnPass, FlowScorer | None]:
    """Return the network's pass and the scorer as it was fitted before, None where it was not."""
    check_noise(noise)  # before an hour of fitting
    own = OwnPass.of(setup, scorer.name)
    if scorer.name not in setup.artefacts:
        return own, None
    state = load_state(setup.artefact(scorer.name), scorer.name, setup.bundle)
    return own, scorer.from_state(state, network_pass=own)


def _fit_layers(
    setup: Setup,
    own: OwnPass,
    names: Sequence[str],
    embeddings: int,
    iterations: int,
    checkpoints: Path | None,
    tell: Callable[[str], None],
) -> dict[str, RealNvp]:
    plan = FlowPlan(iterations=iterations, seed=setup.seed)
    tap = LayerTap(own.network, names)
    samples = {
        name: EmbeddingSample(embeddings, setup.bundle.num_classes, setup.seed) for name in names
    }
    for one in setup.walk('flow'):
        with torch.inference_mode():
            _, taken = tap(own.to_input(one.image))
        for name, sample in samples.items():
            sample.update(taken[name][0], one.targets)
    flows = {}
    for name, sample in samples.items():
        values, _ = sample.take()
        tell(f'{name}: {len(values)} of {sample.seen} embeddings, {values.shape[1]} dimensions')
        flows[name] = fit_flow(
            values,
            plan,
            checkpoint=None if checkpoints is None else checkpoints / f'{name}.ckpt',
            tell=tell,
        )
    return flows


def fit_regression(
    scorer: FlowMinimumScorer, frames: Iterator[Observation], *, seed: int = 0
) -> NDArray[np.float64]:
    """Return the weights (L + 1,) of a logistic regression of OoD on the layers' scores."""
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(seed)
    rows, answers = [], []
    for one in frames:
        layers = np.stack(scorer.layer_scores(one.image)).reshape(len(scorer.flows), -1)
        targets = one.targets.ravel()
        for kind in (True, False):
            # below OOD stand the classes, and what is in-distribution without a class
            of_kind = np.flatnonzero(targets == OOD if kind else targets < OOD)
            chosen = random.permutation(of_kind)[:REGRESSION_PIXELS]
            rows.append(layers[:, chosen].T)
            answers.append(np.full(len(chosen), kind))
    values = np.concatenate(rows) if rows else np.zeros((0, len(scorer.flows)))
    is_ood = np.concatenate(answers) if answers else np.zeros(0, dtype=bool)
    if not is_ood.any() or is_ood.all():
        raise ValueError(
            f'the regression needs OoD and in-distribution pixels, got {int(is_ood.sum())} and '
            f'{int((~is_ood).sum())}. Give labelled frames with both: --ood-data NAME=PATH'
        )
    mean, spread = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-12)
    model = LogisticRegression(class_weight='balanced').fit((values - mean) / spread, is_ood)
    weights = model.coef_[0] / spread
    return np.append(weights, model.intercept_[0] - weights @ mean)
