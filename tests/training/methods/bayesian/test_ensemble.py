"""An ensemble of bundles against the mean of their softmax."""

from dataclasses import replace
import math

from meta_ood_ros.core.bundle_files import save_bundle
from meta_ood_training.methods import MethodNeedsError, METHODS, Observer, Setup
from meta_ood_training.methods.bayesian.ensemble import EnsembleScorer, load_members
import numpy as np
import pytest
from scipy.stats import entropy
import torch
from torch.nn.functional import interpolate


@pytest.fixture
def folder(tiny_bundle, tmp_path):
    """Return a folder of three bundles: one the tiny one itself, two whose last layer differs."""
    for index in range(3):
        weights = dict(tiny_bundle.weights)
        key = 'bu_dec_l4.merge_layer.3.bias'
        weights[key] = weights[key] + torch.arange(19) % (index + 1) * 2.0
        save_bundle(
            replace(tiny_bundle, weights=weights, name=f'm{index}'), tmp_path / f'm{index}'
        )
    (tmp_path / 'notes').mkdir()
    return tmp_path


def test_the_networks_of_a_folder_are_asked_once_each(tiny_bundle, folder):
    members = load_members(folder, tiny_bundle)
    assert [one.name for one in members] == ['m1', 'm2']
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    networks = [Observer.from_bundle(one, device='cpu') for one in (tiny_bundle, *members)]
    logits = [one.run(image)[0] for one in networks]
    p = [
        interpolate(one[None].double(), (64, 96), mode='bilinear', align_corners=True)[0]
        .softmax(0)
        .numpy()
        for one in logits
    ]
    total = entropy(np.mean(p, axis=0), axis=0)
    expected = {
        'ensemble_entropy': total,
        'ensemble_mutual_information': total - np.mean([entropy(q, axis=0) for q in p], axis=0),
    }
    for name, values in expected.items():
        setup = Setup(tiny_bundle, networks[0].network, artefacts={name: folder})
        found = METHODS[name].build(setup).score(image, logits[0])
        np.testing.assert_allclose(found, values / math.log(19), atol=1e-5)


def test_one_network_is_no_ensemble(tiny_bundle, tmp_path):
    save_bundle(tiny_bundle, tmp_path / 'm0')
    with pytest.raises(MethodNeedsError, match='needs at least 1 other bundle .* got 1 with the'):
        load_members(tmp_path, tiny_bundle)
    with pytest.raises(MethodNeedsError, match='ensemble_entropy needs .*, got nothing'):
        METHODS['ensemble_entropy'].build(Setup(tiny_bundle, tiny_bundle.build_network()))
    with pytest.raises(ValueError, match='needs at least 1 network beside its first, got none'):
        EnsembleScorer([], align_corners=True)


def test_other_classes_are_refused(tiny_bundle, folder):
    names = ('lane', *tiny_bundle.class_names[1:])
    with pytest.raises(ValueError, match='must know the 19 classes of .* got others in .*m0'):
        load_members(folder, replace(tiny_bundle, class_names=names, meta_classifiers=()))
