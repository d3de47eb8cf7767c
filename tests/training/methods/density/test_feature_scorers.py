"""Densities as scores: fitted on labelled frames, kept, read back, refused where they misfit."""

from dataclasses import replace

from meta_ood_training.datasets import OOD, Sample
from meta_ood_training.methods import MethodNeedsError, METHODS, Observation, Observer, Setup
from meta_ood_training.methods.density.flow_method import fit_regression
from meta_ood_training.methods.density.flow_scorer import FlowScorer
from meta_ood_training.methods.density.scorers import KnnClassDensityScorer, MahalanobisScorer
from meta_ood_training.methods.fitted_file import FittedFile, load_state
import numpy as np
import pytest
from safetensors.numpy import save
import torch

SMALL = {
    'mahalanobis': {},
    'knn_density': {'embeddings': 300, 'index': 'exact'},
    'knn_class_density': {'embeddings': 300, 'index': 'exact'},
    'flow': {'embeddings': 300, 'iterations': 5},
    'flow_minimum': {'embeddings': 300, 'iterations': 5, 'noise': 0.0},
}


class Streets:
    """Two frames, dark on the left (class 0), bright on the right (class 3), a block of OoD."""

    region_of_interest, names, groups = 'all', ('a', 'b'), ('a', 'b')

    def __len__(self):
        return 2

    def __getitem__(self, index):
        random = np.random.default_rng(index)
        image = random.integers(0, 60, (96, 128, 3), dtype=np.uint8)
        image[:, 64:] += 150
        target = np.zeros((96, 128), dtype=np.uint8)
        target[:, 64:] = 3
        target[:24, :32] = OOD
        image[:24, :32] = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        return Sample(image, target, self.names[index], self.groups[index])


@pytest.fixture(scope='module')
def observer(tiny_bundle):
    return Observer.from_bundle(tiny_bundle, device='cpu')


@pytest.fixture(scope='module')
def setup(tiny_bundle, observer):
    seen = list(observer.walk(Streets()))
    return Setup(tiny_bundle, observer.network, lambda: iter(seen))


@pytest.mark.parametrize('name', SMALL)
def test_a_fitted_score_is_kept_and_read_back(setup, tiny_bundle, tmp_path, name):
    scorer = METHODS[name].build(setup, **SMALL[name])
    frame = next(setup.observations())
    scores = scorer.score(frame.image, frame.logits, frame.features)
    assert scores.shape == (96, 128)
    assert scores.dtype == np.float32
    assert np.ptp(scores) > 0
    path = tmp_path / f'{name}.safetensors'
    FittedFile(name, tiny_bundle.network_sha256, scorer.state(), {'seed': 0}).save(path)
    for place in (path, tmp_path):
        kept = Setup(tiny_bundle, setup.network, artefacts={name: place})
        again = METHODS[name].build(kept)
        if name.startswith('knn'):
            again.density.kind = 'exact'
        found = again.score(frame.image, frame.logits, frame.features)
        np.testing.assert_allclose(found, scores, rtol=1e-5, atol=1e-5)


def test_what_lies_far_from_the_training_features_scores_higher(setup):
    scorer = METHODS['mahalanobis'].build(setup)
    knn = METHODS['knn_density'].build(setup, embeddings=300, index='exact')
    frame = next(setup.observations())
    far = frame.features.clone()
    far[:, :, : far.shape[2] // 2] = -20 * far[:, :, : far.shape[2] // 2] - 5
    for one in (scorer, knn):
        left, right = np.split(one.score(frame.image, frame.logits, far), 2, axis=1)
        assert left[:, :-8].mean() > right[:, 8:].mean()


def test_ood_pixels_are_never_fitted_on(setup, tiny_bundle):
    def without(value):
        for one in setup.observations():
            features = one.features.clone()
            rows, columns = features.shape[1] // 4, features.shape[2] // 4
            features[:, :rows, :columns] = value
            yield replace(one, features=features)

    states = [
        METHODS[name].build(
            Setup(tiny_bundle, setup.network, lambda value=value: without(value)), **SMALL[name]
        )
        for name in ('mahalanobis', 'knn_density')
        for value in (0.0, 1e6)
    ]
    for first, second in (states[:2], states[2:]):
        for key, array in first.state().items():
            np.testing.assert_array_equal(second.state()[key], array)


def test_the_minimum_is_that_of_its_layers_and_serves_the_last_alone(setup, tiny_bundle):
    scorer = METHODS['flow_minimum'].build(setup, **SMALL['flow_minimum'])
    frame = next(setup.observations())
    layers = scorer.layer_scores(frame.image)
    assert len(layers) == len(scorer.flows) > 1
    found = scorer.score(frame.image, frame.logits)
    np.testing.assert_array_equal(found, np.minimum.reduce(layers))
    single = FlowScorer.from_state(scorer.state(), network_pass=scorer._pass)
    np.testing.assert_allclose(single.score(frame.image, frame.logits), layers[-1], atol=1e-5)


def test_the_step_of_the_input_lowers_the_nll(setup):
    scorer = METHODS['flow'].build(setup, embeddings=300, iterations=5, noise=0.05)
    frame = next(setup.observations())
    with torch.no_grad():
        (before,) = scorer._nll_maps(scorer._pass.to_input(frame.image))
        (after,) = scorer._nll_maps(scorer.stepped(frame.image))
    assert after.mean() < before.mean()


def test_the_regression_weighs_the_layer_that_tells():
    class Layered:
        flows = ('useless', 'telling')

        def layer_scores(self, image):
            noise = np.random.default_rng(0).normal(size=(20, 30))
            return [noise.astype(np.float32), image[..., 0] * 0.1]

    targets = np.zeros((20, 30), dtype=np.uint8)
    targets[:5] = OOD
    image = np.zeros((20, 30, 3), dtype=np.uint8)
    image[:5] = 200
    image += np.random.default_rng(1).integers(0, 50, image.shape, dtype=np.uint8)
    frame = Observation(image, torch.zeros(2, 2, 2), None, targets)
    weights = fit_regression(Layered(), iter([frame]))
    assert weights.shape == (3,)
    assert weights[1] * 0.1 * 150 > 10 * abs(weights[0])
    with pytest.raises(ValueError, match='needs OoD and in-distribution pixels, got 0 and 600'):
        fit_regression(Layered(), iter([replace(frame, targets=np.zeros_like(targets))]))


def test_the_regression_is_fitted_where_ood_frames_are_given(setup, tiny_bundle, tmp_path):
    options = {'embeddings': 300, 'iterations': 2, 'noise': 0.0}
    with pytest.raises(MethodNeedsError, match='got no frames with such.*--ood-data'):
        METHODS['flow_regression'].build(setup, **options)
    scorer = METHODS['flow_regression'].build(setup, ood=setup.observations, **options)
    frame = next(setup.observations())
    scores = scorer.score(frame.image, frame.logits)
    expected = scorer.weights[-1] + sum(
        weight * one
        for weight, one in zip(scorer.weights, scorer.layer_scores(frame.image), strict=False)
    )
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    scorer.weights = scorer.weights[:-1]
    with pytest.raises(ValueError, match='weights of flow_regression must be .*, got'):
        scorer.score(frame.image, frame.logits)


def test_a_method_without_frames_says_that_it_needs_them(tiny_bundle, observer):
    for name in ('mahalanobis', 'knn_density', 'flow'):
        with pytest.raises(MethodNeedsError, match='labelled in-distribution frames, got none'):
            METHODS[name].build(Setup(tiny_bundle, observer.network))


def test_a_file_of_another_network_or_method_is_refused(setup, tiny_bundle, tmp_path):
    scorer = METHODS['mahalanobis'].build(setup)
    path = tmp_path / 'mahalanobis.safetensors'
    FittedFile('mahalanobis', 'f' * 64, scorer.state()).save(path)
    with pytest.raises(ValueError, match='must be fitted with the network of .* got .f{12}'):
        load_state(path, 'mahalanobis', tiny_bundle)
    with pytest.raises(ValueError, match="must be fitted for flow, got 'mahalanobis'"):
        load_state(path, 'flow', tiny_bundle)
    with pytest.raises(
        ValueError, match='got no such file. Fit it: meta-ood-train fit-score flow'
    ):
        load_state(tmp_path, 'flow', tiny_bundle)


@pytest.mark.parametrize(
    'content',
    [b'', b'x' * 40, save({'a': np.zeros(2)}), save({'a': np.array([np.nan])})],
    ids=['empty', 'noise', 'other', 'nan'],
)
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / 'flow.safetensors').write_bytes(content)
    with pytest.raises(ValueError, match='must be a file of a fitted method, got: .* fit again'):
        FittedFile.load(tmp_path / 'flow.safetensors')


def test_numbers_that_are_none_are_refused(tmp_path):
    FittedFile('flow', 'f', {'a': np.array([np.inf])}).save(tmp_path / 'a.safetensors')
    with pytest.raises(ValueError, match="got: 'a', which is not finite"):
        FittedFile.load(tmp_path / 'a.safetensors')


@pytest.mark.parametrize('name', SMALL)
def test_a_state_that_lacks_something_is_refused(setup, name):
    scorer = METHODS[name].build(setup, **SMALL[name])
    options = (
        {'network_pass': scorer._pass} if name.startswith('flow') else {'align_corners': True}
    )
    for key in [one for one in scorer.state() if one != 'num_classes'][:3]:
        state = {other: one for other, one in scorer.state().items() if other != key}
        with pytest.raises(ValueError, match=f'state of {name} must be what its fit gave, got'):
            type(scorer).from_state(state, **options)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match='state of mahalanobis must be'):
        MahalanobisScorer.from_state(
            {'means': np.zeros((2, 3)), 'whitening': np.zeros((2, 4))}, align_corners=True
        )
    state = {
        'values': np.zeros((2, 3)),
        'classes': np.zeros((3, 1), dtype=np.uint8),
        'num_classes': np.array(5),
    }
    with pytest.raises(ValueError, match='state of knn_class_density must be'):
        KnnClassDensityScorer.from_state(state, align_corners=True)
