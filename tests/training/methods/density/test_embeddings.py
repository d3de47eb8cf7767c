"""Samples of embeddings against what was drawn by hand, and against their law."""

from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION, OOD
from meta_ood_training.methods.density.embeddings import EmbeddingSample, label_patches
import numpy as np
import pytest
import torch


def test_the_labels_of_patches_are_those_drawn():
    targets = np.array(
        [
            [0, 0, 1, OOD],
            [0, 2, 1, 1],
            [IGNORED, IGNORED, IN_DISTRIBUTION, IGNORED],
            [IGNORED, IGNORED, IGNORED, IGNORED],
        ],
        dtype=np.uint8,
    )
    patches = label_patches(targets, (2, 2), 3)
    np.testing.assert_array_equal(patches.usable, [True, False, False, True])
    np.testing.assert_array_equal(patches.majority, [0, 1, -1, -1])
    expected = [[1, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_array_equal(patches.classes, np.array(expected, dtype=bool))


def numbered(first, count=4):
    """Return a frame whose embeddings are (n, 2 n), and its labels, one class."""
    numbers = torch.arange(first, first + count, dtype=torch.float32).view(1, 1, count)
    return torch.cat([numbers, 2 * numbers]), np.zeros((1, count), dtype=np.uint8)


def test_a_large_sample_is_all_that_is_labelled_and_not_ood():
    sample = EmbeddingSample(100, num_classes=2)
    features, targets = numbered(0)
    sample.update(features, targets)
    features, targets = numbered(4)
    targets[0, :3] = [OOD, 1, IGNORED]
    sample.update(features, targets)
    values, classes = sample.take()
    order = np.argsort(values[:, 0])
    np.testing.assert_array_equal(values[order, 0], [0, 1, 2, 3, 5, 7])
    np.testing.assert_array_equal(values[:, 1], 2 * values[:, 0])
    np.testing.assert_array_equal(classes[order, 1], [0, 0, 0, 0, 1, 0])
    assert sample.seen == 6


def test_every_embedding_is_kept_as_often_as_any_other():
    kept = np.zeros(40)
    for seed in range(400):
        sample = EmbeddingSample(10, num_classes=1, seed=seed)
        for first in range(0, 40, 8):
            sample.update(*numbered(first, 8))
        values, _ = sample.take()
        assert len(values) == 10
        kept[values[:, 0].astype(int)] += 1
    # binomial(400, 1/4): mean 100, deviation 8.7
    assert abs(kept[:8].mean() - 100) < 15
    assert abs(kept[-8:].mean() - 100) < 15
    assert kept.min() > 60
    assert kept.max() < 140


def test_the_seed_decides():
    def of(seed):
        sample = EmbeddingSample(3, num_classes=1, seed=seed)
        sample.update(*numbered(0, 50))
        return sample.take()[0][:, 0].tolist()

    assert of(1) == of(1)
    assert of(1) != of(2)


def test_a_sample_of_nothing_is_refused():
    with pytest.raises(ValueError, match='needs labelled in-distribution pixels, got none'):
        EmbeddingSample(3, num_classes=1).take()
    with pytest.raises(ValueError, match='must keep at least 1 embedding, got 0'):
        EmbeddingSample(0, num_classes=1)
