"""ViM against its closed form: distance from a plane, plus energy."""

import math

from meta_ood_ros.core.scorers import EnergyScorer, VimScorer
import numpy as np
import pytest
import torch

IMAGE = np.zeros((2, 2, 3), dtype=np.uint8)


def plane_scorer(alpha=2.0):
    # the principal space is the plane of the first two axes through (0, 0, 1)
    return VimScorer(np.array([0.0, 0.0, 1.0]), np.array([[0.0, 0.0, 1.0]]), alpha)


def test_distance_from_the_principal_plane_plus_energy():
    features = torch.tensor([5.0, -7.0, 4.0]).view(3, 1, 1)
    logits = torch.tensor([1.0, 1.0]).view(2, 1, 1)
    # 2 * |4 - 1| - (1 + log 2)
    expected = 6.0 - 1.0 - math.log(2)
    np.testing.assert_allclose(plane_scorer().score(IMAGE, logits, features), expected, rtol=1e-6)


def test_within_the_plane_it_is_the_energy():
    torch.manual_seed(0)
    features = torch.randn(3, 2, 2)
    features[2] = 1.0
    logits = torch.randn(4, 2, 2)
    found = plane_scorer().score(IMAGE, logits, features)
    np.testing.assert_allclose(found, EnergyScorer().score(IMAGE, logits), rtol=1e-6)


def test_turning_features_and_space_together_changes_nothing():
    rng = np.random.default_rng(1)
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    residual = np.linalg.qr(rng.normal(size=(6, 2)))[0].T
    origin = rng.normal(size=6)
    features = rng.normal(size=(6, 2, 2)).astype(np.float32)
    logits = torch.zeros(3, 2, 2)
    one = VimScorer(origin, residual, 1.5).score(IMAGE, logits, torch.from_numpy(features))
    turned = np.einsum('ij,jhw->ihw', turn, features).astype(np.float32)
    other = VimScorer(turn @ origin, residual @ turn.T, 1.5)
    again = other.score(IMAGE, logits, torch.from_numpy(turned))
    np.testing.assert_allclose(again, one, rtol=1e-5)


def test_state_comes_back():
    scorer = plane_scorer()
    again = VimScorer.from_state(scorer.state(), align_corners=True)
    assert (again.alpha, again.align_corners) == (2.0, True)
    np.testing.assert_array_equal(again.residual, scorer.residual)
    np.testing.assert_array_equal(again.origin, scorer.origin)


def test_what_does_not_fit_is_refused():
    logits = torch.zeros(2, 1, 1)
    with pytest.raises(ValueError, match='vim needs the features of the network, got none'):
        plane_scorer().score(IMAGE, logits)
    with pytest.raises(ValueError, match='vim was fitted for 3 features, got 5'):
        plane_scorer().score(IMAGE, logits, torch.zeros(5, 1, 1))
    with pytest.raises(ValueError, match='residual directions of shape'):
        VimScorer(np.zeros(3), np.zeros((1, 4)), 1.0)
    with pytest.raises(ValueError, match='vim needs its fitted array origin, got nothing'):
        VimScorer.from_state({})
