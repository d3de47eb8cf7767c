"""Batched training against torch.optim.Adam, one fold at a time."""

from itertools import pairwise

from meta_ood_training.meta.fitting.neural_meta import (
    count_parameters,
    NeuralSettings,
    predict_neural_network,
    train_neural_networks,
)
import numpy as np
import pytest
import torch


def train_with_torch(z, labels, settings, seed):
    """Train by torch.nn and torch.optim, drawing the same numbers in the same order."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [z.shape[1], 75, 75, 75, 1]
    modules = []
    for inputs, outputs in pairwise(sizes):
        linear = torch.nn.Linear(inputs, outputs, dtype=torch.float64)
        for parameter in (linear.weight, linear.bias):
            drawn = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.data = (2 * drawn - 1) / inputs**0.5
        modules += [linear, torch.nn.ReLU()]
    network = torch.nn.Sequential(*modules[:-1])
    optimizer = torch.optim.Adam(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    x, y = torch.from_numpy(z), torch.from_numpy(labels.astype(np.float64))
    for _ in range(settings.epochs):
        order = torch.randperm(len(x), generator=generator)
        for rows in order.split(settings.batch_size):
            optimizer.zero_grad()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                network(x[rows])[:, 0], y[rows]
            )
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return network(x)[:, 0].numpy()


def make_folds(sizes, width, seed=0):
    rng = np.random.default_rng(seed)
    z = [rng.standard_normal((size, width)) for size in sizes]
    return z, [one[:, 0] * one[:, 1] > 0.2 for one in z]


def test_folds_of_different_length_equal_separate_training_by_torch():
    # 40, 17 and 33 segments in batches of 16: the last batches are kept, short folds rest
    z, labels = make_folds([40, 17, 33], 6)
    settings = NeuralSettings(epochs=4, batch_size=16, learning_rate=0.01, seed=5)
    trained = train_neural_networks(z, labels, settings, dtype=torch.float64)
    for fold in range(3):
        expected = train_with_torch(z[fold], labels[fold], settings, seed=5 + fold)
        actual = predict_neural_network(z[fold], trained[fold])
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10)


def test_published_size():
    for width, parameters in ((75, 17_176), (59, 15_976)):
        z, labels = make_folds([20], width)
        layers = train_neural_networks(z, labels, NeuralSettings(epochs=1))[0]
        assert [weight.shape for weight, _ in layers] == [
            (75, width),
            (75, 75),
            (75, 75),
            (1, 75),
        ]
        assert count_parameters(layers) == parameters


def test_defaults_are_those_of_the_paper():
    settings = NeuralSettings()
    assert (settings.epochs, settings.batch_size) == (50, 128)
    assert (settings.learning_rate, settings.weight_decay) == (1e-3, 5e-3)


def test_learns_a_product_that_no_linear_classifier_can():
    z, labels = make_folds([1200], 5)
    layers = train_neural_networks(z, labels, NeuralSettings(seed=1))[0]
    (fresh,), (truth,) = make_folds([1000], 5, seed=9)
    accuracy = np.mean((predict_neural_network(fresh, layers) > 0) == truth)
    assert accuracy > 0.9


def test_hidden_columns_equal_a_network_that_has_only_the_others():
    z, labels = make_folds([50], 6)
    columns = np.array([0, 1, 4])
    settings = NeuralSettings(epochs=3, batch_size=16)
    layers = train_neural_networks(z, labels, settings, columns=[columns], dtype=torch.float64)[0]
    assert not layers[0][0][:, [2, 3, 5]].any()
    changed = z[0].copy()
    changed[:, [2, 3, 5]] += 100.0
    np.testing.assert_array_equal(
        predict_neural_network(changed, layers), predict_neural_network(z[0], layers)
    )


def test_seed_repeats_and_differs():
    z, labels = make_folds([60], 4)

    def logits(seed):
        settings = NeuralSettings(epochs=2, seed=seed)
        return predict_neural_network(z[0], train_neural_networks(z, labels, settings)[0])

    np.testing.assert_array_equal(logits(3), logits(3))
    assert np.abs(logits(3) - logits(4)).max() > 1e-3


def test_threads_are_given_back_and_steps_are_reported():
    before = torch.get_num_threads()
    z, labels = make_folds([300, 100], 3)
    seen = []
    train_neural_networks(
        z, labels, NeuralSettings(epochs=2), on_step=lambda done, total: seen.append((done, total))
    )
    assert torch.get_num_threads() == before
    assert seen == [(step, 6) for step in range(1, 7)]


@pytest.mark.parametrize('count', [1, 5, 128, 129])
def test_any_number_of_segments_trains(count):
    z, labels = make_folds([count], 3)
    start = train_neural_networks(z, labels, NeuralSettings(epochs=1, learning_rate=0.0))[0]
    end = train_neural_networks(z, labels, NeuralSettings(epochs=1))[0]
    assert np.abs(start[0][0] - end[0][0]).max() > 0
