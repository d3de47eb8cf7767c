"""The bench of the methods: what a network says of a labelled frame, and who needs what."""

from meta_ood_ros.core.image import to_network_input
from meta_ood_ros.core.scorers import Scorer
from meta_ood_training.datasets import IGNORED, OOD, Sample
from meta_ood_training.methods import (
    find_methods,
    MethodNeedsError,
    METHODS,
    Observation,
    Observer,
    Setup,
)
import numpy as np
import pytest
import torch


class Frames:
    """Two frames of noise of different sizes, with a class on each half and a block of OoD."""

    region_of_interest = 'all'
    names = ('a', 'b')
    groups = ('a', 'b')

    def __len__(self):
        return 2

    def __getitem__(self, index):
        height, width = ((96, 128), (192, 256))[index]
        rng = np.random.default_rng(index)
        target = np.zeros((height, width), dtype=np.uint8)
        target[:, width // 2 :] = 3
        target[: height // 4, : width // 4] = OOD
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        return Sample(image, target, self.names[index], self.groups[index])


@pytest.fixture(scope='module')
def observer(tiny_bundle):
    return Observer.from_bundle(tiny_bundle, device='cpu')


def test_walk_gives_what_the_network_says(tiny_bundle, observer):
    seen = list(observer.walk(Frames()))
    assert [one.name for one in seen] == ['a', 'b']
    network = tiny_bundle.build_network()
    for one in seen:
        assert one.image.shape == (96, 128, 3)
        assert one.targets.shape == (96, 128)
        x = to_network_input(one.image, mean=tiny_bundle.input_mean, std=tiny_bundle.input_std)
        with torch.no_grad():
            logits, features = network.with_features(x)
        torch.testing.assert_close(one.logits, logits[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(one.features, features[0], rtol=1e-4, atol=1e-4)
        counts = dict(zip(*np.unique(one.targets, return_counts=True), strict=True))
        assert counts == {0: 48 * 128 - 24 * 32 - 0, 3: 48 * 128, OOD: 24 * 32}


def test_walk_without_features_in_the_order_given(observer):
    seen = list(observer.walk(Frames(), [1, 0], with_features=False))
    assert [(one.name, one.features) for one in seen] == [('b', None), ('a', None)]


def test_targets_of_the_cells_of_the_output():
    targets = np.arange(16, dtype=np.uint8).reshape(4, 4)
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    coarse = Observation(image, torch.zeros(2, 2, 2), None, targets)
    assert coarse.targets_on_output_grid().tolist() == [[5, 7], [13, 15]]
    same = Observation(image, torch.zeros(2, 4, 4), None, targets)
    assert np.array_equal(same.targets_on_output_grid(), targets)
    assert IGNORED not in coarse.targets_on_output_grid()


def test_every_method_says_what_it_is():
    assert list(METHODS) == [one.name for one in METHODS.values()]
    for method in METHODS.values():
        assert method.paper
        assert method.summary
        assert '\n' not in method.paper + method.summary


@pytest.mark.parametrize('name', METHODS)
def test_a_method_runs_or_says_what_it_needs(name, tiny_bundle, observer):
    method = METHODS[name]
    frames = Frames()
    setup = Setup(tiny_bundle, observer.network, lambda: observer.walk(frames))
    if method.load_network is not None:
        with pytest.raises(MethodNeedsError, match='--artefact'):
            method.load_network(setup)
        return
    try:
        options = {'embeddings': 300, 'iterations': 5} if name.startswith('flow') else {}
        scorer = method.build(setup, **options)
    except MethodNeedsError as error:
        needs = '--ood-data' if name == 'flow_regression' else '--artefact'
        assert needs in str(error)  # noqa: PT017 - a method may need what was trained
        return
    assert isinstance(scorer, Scorer)
    assert scorer.name == name
    one = next(observer.walk(frames))
    scores = scorer.score(one.image, one.logits, one.features)
    assert scores.shape == (96, 128)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert scores.std() > 0


def test_methods_by_name():
    assert find_methods(['all']) == list(METHODS.values())
    assert [one.name for one in find_methods(['msp', 'entropy', 'msp'])] == ['msp', 'entropy']
    with pytest.raises(ValueError, match="got 'entropie'. Did you mean 'entropy'?"):
        find_methods(['entropie'])


def test_what_is_absent_is_asked_for(tiny_bundle, observer, tmp_path):
    setup = Setup(tiny_bundle, observer.network)
    with pytest.raises(MethodNeedsError, match='mahalanobis is fitted on labelled .*--fit-data'):
        setup.walk('mahalanobis')
    with pytest.raises(MethodNeedsError, match='Give it with --artefact dirichlet=PATH'):
        setup.artefact('dirichlet')
    absent = Setup(tiny_bundle, observer.network, artefacts={'dirichlet': tmp_path / 'no'})
    with pytest.raises(MethodNeedsError, match='which does not exist. Correct --artefact'):
        absent.artefact('dirichlet')
    given = Setup(tiny_bundle, observer.network, artefacts={'dirichlet': tmp_path})
    assert given.artefact('dirichlet') == tmp_path
