"""Neighbours against plain numpy, densities against what a few vectors give by hand."""

from math import exp

from meta_ood_training.methods.density import neighbours as neighbours_room
from meta_ood_training.methods.density.knn import EmbeddingDensity
from meta_ood_training.methods.density.neighbours import build_neighbours
import numpy as np
import pytest
import torch


def cosines_of(values, queries):
    products = queries @ values.T
    return products / np.linalg.norm(queries, axis=1)[:, None] / np.linalg.norm(values, axis=1)


def test_exact_neighbours_are_those_of_plain_numpy(monkeypatch):
    monkeypatch.setattr(neighbours_room, '_MOST_PRODUCTS', 300)  # several blocks
    random = np.random.default_rng(0)
    values, queries = (random.normal(size=(n, 7)).astype(np.float32) for n in (50, 20))
    cosines, indices = build_neighbours(values, 'exact').search(queries, 5)
    expected = -np.sort(-cosines_of(values, queries), axis=1)[:, :5]
    np.testing.assert_allclose(cosines, expected, rtol=1e-5)
    found = np.take_along_axis(cosines_of(values, queries), indices, axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(('number', 'k'), [(1, 1), (7, 7), (997, 1), (1000, 20), (1003, 400)])
def test_exact_neighbours_are_the_largest_of_all_products(number, k):
    random = np.random.default_rng(number)
    values = random.normal(size=(number, 3)).astype(np.float32)
    values[number // 2 :] = values[: number - number // 2]  # every product twice
    queries = random.normal(size=(30, 3)).astype(np.float32)
    cosines, indices = build_neighbours(values, 'exact').search(queries, k)
    products = cosines_of(values, queries)
    np.testing.assert_allclose(cosines, -np.sort(-products, axis=1)[:, :k], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(products, indices, axis=1), cosines, atol=1e-6)
    assert all(len(set(row)) == k for row in indices)


def test_the_graph_finds_nearly_all_neighbours():
    pytest.importorskip('faiss')
    random = np.random.default_rng(0)
    values, queries = (random.normal(size=(n, 8)).astype(np.float32) for n in (1500, 100))
    exact, indices = build_neighbours(values, 'exact').search(queries, 20)
    cosines, found = build_neighbours(values, 'hnsw').search(queries, 20)
    recall = np.mean([len(set(a) & set(b)) / 20 for a, b in zip(found, indices, strict=True)])
    assert recall > 0.95
    np.testing.assert_allclose(np.exp(cosines).sum(1), np.exp(exact).sum(1), rtol=2e-3)


def test_without_faiss_the_graph_is_refused_and_auto_is_exact(monkeypatch):
    monkeypatch.setattr(neighbours_room, 'find_spec', lambda name: None)
    values = np.eye(3, dtype=np.float32)
    with pytest.raises(ModuleNotFoundError, match="needs faiss.*pip install faiss-cpu.*'exact'"):
        build_neighbours(values, 'hnsw')
    assert type(build_neighbours(values)).__name__ == 'ExactNeighbours'
    with pytest.raises(ValueError, match='index must be one of auto, exact, hnsw'):
        build_neighbours(values, 'annoy')


def density(classes=None):
    values = np.array([[2, 0], [0, 3], [-1, 0]], dtype=np.float32)
    return EmbeddingDensity(values, np.eye(3, dtype=bool) if classes is None else classes, 'exact')


def test_the_density_is_the_sum_over_the_nearest():
    features = torch.tensor([[[5.0, 0.0]], [[0.0, 0.0]]])  # along x, and the zero vector
    found = density().density(features, k=2)
    torch.testing.assert_close(found, torch.tensor([[exp(1) + exp(0), 2.0]]))
    torch.testing.assert_close(
        density().density(features, k=20)[0, 0], torch.tensor(exp(1) + exp(0) + exp(-1))
    )


def test_an_unlike_embedding_is_less_dense():
    values = np.random.default_rng(0).normal([5, 0, 0], 0.3, (200, 3)).astype(np.float32)
    fitted = EmbeddingDensity(values, np.ones((200, 1), dtype=bool), 'exact')
    alike, unlike = fitted.density(torch.tensor([[[5.0, 0.0]], [[0.0, 5.0]], [[0.1, 0.0]]]))[0]
    assert alike > unlike


def test_the_class_density_is_the_share_of_the_predicted_class():
    features, predicted = torch.tensor([[[5.0]], [[0.0]]]), torch.tensor([[1]])
    total = exp(1) + exp(0) + exp(-1)
    found = density().class_density(features, predicted)
    torch.testing.assert_close(found, torch.tensor([[exp(0) / total]]))
    several = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]], dtype=bool)
    found = density(several).class_density(features, predicted)
    torch.testing.assert_close(found, torch.tensor([[(exp(1) + exp(0)) / total]]))


def test_chunks_change_nothing():
    random = np.random.default_rng(0)
    values = random.normal(size=(40, 5)).astype(np.float32)
    classes = random.random((40, 4)) > 0.5
    features = torch.from_numpy(random.normal(size=(5, 6, 7)).astype(np.float32))
    predicted = torch.from_numpy(random.integers(0, 4, (6, 7)))
    whole = EmbeddingDensity(values, classes, 'exact')
    cut = EmbeddingDensity(values, classes, 'exact', chunk=10)
    torch.testing.assert_close(whole.density(features), cut.density(features))
    torch.testing.assert_close(
        whole.class_density(features, predicted), cut.class_density(features, predicted)
    )


def test_other_features_are_refused():
    with pytest.raises(ValueError, match='must have the 2 dimensions that were fitted, got 3'):
        density().density(torch.zeros(3, 1, 1))
