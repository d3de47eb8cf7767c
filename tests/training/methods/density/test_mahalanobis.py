"""The distance against scikit-learn's moments and a plain inverse."""

from meta_ood_training.methods.density.mahalanobis import GaussianSums
import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
import torch


def frames(offset=0.0, count=3, dimensions=4):
    """Return frames (D, h, w) of three classes with a common shape, and their labels (h w,)."""
    random = np.random.default_rng(0)
    mixing = random.normal(size=(dimensions, dimensions))
    centres = random.normal(size=(3, dimensions)) * 5 + offset
    for _ in range(count):
        labels = random.integers(0, 3, 60).astype(np.int16)
        values = centres[labels] + random.normal(size=(60, dimensions)) @ mixing.T
        yield torch.from_numpy(values.T.reshape(dimensions, 6, 10)).float(), labels


@pytest.mark.parametrize('offset', [0.0, 1000.0])
def test_the_nearest_distance_is_that_of_a_plain_inverse(offset):
    sums, values, labels = GaussianSums(5), [], []
    for features, classes in frames(offset):
        sums.update(features, classes)
        values.append(features.flatten(1).T.double().numpy())
        labels.append(classes)
    fitted = sums.fit()
    values, labels = np.concatenate(values), np.concatenate(labels)
    model = LinearDiscriminantAnalysis(solver='lsqr', store_covariance=True).fit(values, labels)
    np.testing.assert_allclose(fitted.means.numpy(), model.means_, rtol=1e-9)
    inverse = np.linalg.inv(model.covariance_)
    apart = values[:60, None] - model.means_
    expected = np.einsum('ncd,de,nce->nc', apart, inverse, apart).min(axis=1)
    features, _ = next(frames(offset))
    found = fitted.nearest_distance(features).flatten().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_it_does_not_depend_on_the_coordinates_of_the_features():
    turned, plain = GaussianSums(3), GaussianSums(3)
    map_ = torch.randn(4, 4, generator=torch.Generator().manual_seed(3)).double()
    for features, classes in frames():
        features = features.double()
        plain.update(features, classes)
        turned.update(torch.einsum('ij,jhw->ihw', map_, features), classes)
    expected = plain.fit().nearest_distance(features)
    found = turned.fit().nearest_distance(torch.einsum('ij,jhw->ihw', map_, features))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_a_channel_that_a_relu_keeps_at_zero_changes_nothing():
    with_dead, without = GaussianSums(3), GaussianSums(3)
    for features, classes in frames():
        dead = torch.cat([features, torch.zeros(1, 6, 10)])
        with_dead.update(dead, classes)
        without.update(features, classes)
    torch.testing.assert_close(
        with_dead.fit().nearest_distance(dead), without.fit().nearest_distance(features)
    )


def test_unlabelled_pixels_and_frames_are_left_out():
    sums, all_labelled = GaussianSums(3), GaussianSums(3)
    for features, classes in frames():
        sums.update(features * 100, np.full(60, -1, dtype=np.int16))
        sums.update(features, classes)
        all_labelled.update(features, classes)
    torch.testing.assert_close(sums.fit().means, all_labelled.fit().means)


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(ValueError, match='needs labelled pixels of at least one class, got none'):
        GaussianSums(3).fit()
    same = GaussianSums(3)
    same.update(torch.ones(2, 2, 2), np.zeros(4, dtype=np.int16))
    with pytest.raises(ValueError, match='must vary, got the same value everywhere'):
        same.fit()
    sums = GaussianSums(3)
    for features, classes in frames():
        sums.update(features, classes)
    with pytest.raises(ValueError, match='must have the 4 dimensions that were fitted, got 7'):
        sums.fit().nearest_distance(torch.zeros(7, 2, 2))
