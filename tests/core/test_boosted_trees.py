"""Boosted trees: by hand, by a second walk, refused where damaged, round trip on disk."""

from dataclasses import replace

from meta_ood_ros.core.bundle_files import installed_bundles, load_bundle, save_bundle
from meta_ood_ros.core.files.meta_classifier_file import (
    load_meta_classifiers,
    pack_meta_classifiers,
    parse_meta_classifiers,
    save_meta_classifiers,
)
from meta_ood_ros.core.files.tensor_header import read_metadata
from meta_ood_ros.core.meta_classifier import MetaClassifier
from meta_ood_ros.core.meta_models.boosted_trees import BoostedTrees, DEEPEST, LEAF
from meta_ood_ros.core.meta_models.dense_layers import DenseLayers
import numpy as np
import pytest


def make_trees(**changes):
    """Return two trees over (size, entropy_mean): one asks twice, one is a leaf."""
    arrays = {
        'prior': -1.0,
        'roots': np.array([0, 5]),
        # size <= 10 ? (entropy_mean <= 0.5 ? -2 : 3) : 1, and then 0.25
        'features': np.array([0, 1, LEAF, LEAF, LEAF, LEAF]),
        'thresholds': np.array([10.0, 0.5, 0.0, 0.0, 0.0, 0.0]),
        'children': np.array([[1, 4], [2, 3], [0, 0], [0, 0], [0, 0], [0, 0]]),
        'values': np.array([0.0, 0.0, -2.0, 3.0, 1.0, 0.25]),
    }
    return BoostedTrees(**(arrays | changes))


def make_classifier(trees, **changes):
    arguments = {
        'kind': 'gradient_boosting',
        'model': trees,
        'metric_names': ('size', 'entropy_mean'),
        'entropy_threshold': 0.5,
    }
    return MetaClassifier(**(arguments | changes))


def grow_at_random(rng, trees, width, depth):
    """Return trees in which each node asks or, now and then, ends early."""
    roots, features, thresholds, children, values = [], [], [], [], []

    def grow(left):
        node = len(features)
        is_leaf = left == 0 or rng.random() < 0.2
        features.append(LEAF if is_leaf else int(rng.integers(width)))
        thresholds.append(0.0 if is_leaf else rng.normal())
        values.append(rng.normal() if is_leaf else 0.0)
        children.append([0, 0])
        if not is_leaf:
            children[node] = [grow(left - 1), grow(left - 1)]
        return node

    for _ in range(trees):
        roots.append(grow(depth))
    return BoostedTrees(
        float(rng.normal()), np.array(roots), np.array(features), np.array(thresholds),
        np.array(children), np.array(values),
    )  # fmt: skip


def walk(trees, row):
    """Return the logit of one segment, question by question."""
    logit = trees.prior
    for node in trees.roots:
        while trees.features[node] != LEAF:
            is_right = row[trees.features[node]] > trees.thresholds[node]
            node = trees.children[node][int(is_right)]
        logit += trees.values[node]
    return logit


def test_two_trees_by_hand():
    metrics = np.array([[10.0, 0.5], [10.0, 0.6], [10.5, 0.1], [-np.inf, np.inf]])
    np.testing.assert_array_equal(make_trees().logits(metrics), [-2.75, 2.25, 0.25, 2.25])
    got = make_classifier(make_trees(), calibration=(2.0, 5.5)).predict(metrics[:1])
    np.testing.assert_array_equal(got, np.array([0.5], np.float32))  # 2 x -2.75 + 5.5 = 0
    assert make_trees().depth == 2


@pytest.mark.parametrize('segments', [0, 1, 255, 257, 600])
def test_agrees_with_a_walk_from_question_to_question(segments):
    rng = np.random.default_rng(segments)
    trees = grow_at_random(rng, trees=20, width=6, depth=5)
    trees.check(tuple('abcdef'))
    metrics = rng.normal(size=(segments, 6))
    expected = [walk(trees, row) for row in metrics]
    np.testing.assert_allclose(trees.logits(metrics), expected, atol=1e-12)
    assert trees.depth <= 5


def test_only_the_order_of_a_metric_matters():
    rng = np.random.default_rng(3)
    trees = grow_at_random(rng, trees=10, width=3, depth=4)
    metrics = rng.normal(size=(50, 3))
    stretched = replace(trees, thresholds=np.exp(trees.thresholds))
    np.testing.assert_array_equal(stretched.logits(np.exp(metrics)), trees.logits(metrics))


def test_a_tree_that_asks_nothing_adds_its_leaf():
    one = replace(chain(0), prior=-1.5, values=np.array([0.5]))
    assert one.depth == 0
    got = make_classifier(one).predict(np.zeros((3, 2)))
    np.testing.assert_allclose(got, [1 / (1 + np.exp(1.0))] * 3, rtol=1e-6)


def test_metrics_that_are_not_numbers_are_no_rejection_but_an_error():
    match = 'of segment 2 must be a number, got NaN from entropy_mean = nan. The network gave no'
    with pytest.raises(ValueError, match=match):
        make_classifier(make_trees()).predict(np.array([[1.0, 2.0], [20.0, np.nan]]))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'prior': np.nan}, r'prior of a meta .* must hold finite numbers, got \[nan\]'),
        ({'thresholds': np.full(6, np.inf)}, r'thresholds of the trees of .* got \[inf\]. Fit'),
        ({'values': np.full(6, -np.inf)}, r'leaves of the trees of .* numbers, got \[-inf\]'),
        ({'values': np.full(6, 1e308)}, r'sum of the leaves of the trees of .* got \[inf\]'),
        ({'values': np.zeros(5)}, r'trees .* must have arrays of shape .*, got .*\(5,\)'),
        ({'children': np.zeros(12, int)}, r'must have arrays of shape .*, got .*\(12,\)'),
        ({'roots': np.array([[0, 5]])}, 'trees .* must have arrays of shape'),
        ({'features': np.zeros(6)}, 'must have whole numbers as features, got float64'),
        ({'roots': np.array([0.0, 5.0])}, 'must have whole numbers as roots, got float64'),
        ({'children': np.zeros((6, 2))}, 'must have whole numbers as children, got float64'),
        ({'roots': np.array([1, 5])}, r'roots that ascend from 0 to below 6, got \[1, 5\]'),
        ({'roots': np.array([0, 0])}, r'roots that ascend from 0 to below 6, got \[0, 0\]'),
        ({'roots': np.array([0, 6])}, r'roots that ascend from 0 to below 6, got \[0, 6\]'),
        ({'roots': np.zeros(0, int)}, r'roots that ascend from 0 to below 6, got \[\]'),
        ({'features': np.array([0, 2, -1, -1, -1, -1])}, r'features from -1 to 1, got \[2\]'),
        ({'features': np.array([0, -2, -1, -1, -1, -1])}, r'features from -1 to 1, got \[-2\]'),
    ],
)
def test_what_is_no_tree_is_refused(change, message):
    with pytest.raises(ValueError, match=f'{message}.*(Fit it again|$)'):
        make_classifier(make_trees(**change))


@pytest.mark.parametrize(
    ('children', 'message'),
    [
        ([[1, 4], [1, 3]], 'children behind their parent, in its tree, got'),  # a circle
        ([[1, 4], [0, 3]], 'children behind their parent, in its tree, got'),
        ([[1, 5], [2, 3]], 'children behind their parent, in its tree, got'),  # another's
        ([[1, 4], [2, -3]], 'children behind their parent, in its tree, got'),
        ([[1, 4], [2, 10**9]], 'children behind their parent, in its tree, got'),
        ([[1, 4], [3, 3]], r'one parent for each node, got \[0, 2\]'),
        ([[1, 2], [2, 3]], r'one parent for each node, got \[2, 0\]'),
    ],
)
def test_children_that_make_no_tree_are_refused(children, message):
    every = make_trees().children.copy()
    every[:2] = children
    with pytest.raises(ValueError, match=message):
        make_classifier(make_trees(children=every))


def chain(depth):
    """Return one tree that asks so often on the way to its last leaf."""
    inner = np.arange(depth) * 2
    features = np.full(2 * depth + 1, LEAF)
    features[inner] = 0
    children = np.zeros((2 * depth + 1, 2), int)
    children[inner] = np.stack([inner + 1, inner + 2], axis=1)
    values = np.arange(2 * depth + 1) * (features == LEAF)
    thresholds = np.where(features == LEAF, 0.0, np.arange(2 * depth + 1) / 2)
    return BoostedTrees(0.0, np.array([0]), features, thresholds, children, values)


def test_a_tree_that_asks_too_often_is_refused():
    deep = make_classifier(chain(DEEPEST), metric_names=('size',)).model
    assert deep.depth == DEEPEST
    np.testing.assert_array_equal(deep.logits(np.array([[1e9], [0.5]])), [2 * DEEPEST, 3])
    with pytest.raises(ValueError, match=f'at most {DEEPEST} questions to a leaf, got more'):
        make_classifier(chain(DEEPEST + 1), metric_names=('size',))
    with pytest.raises(ValueError, match='at most 32 questions'):
        make_classifier(chain(5000), metric_names=('size',))


def test_a_model_of_another_kind_is_refused():
    with pytest.raises(ValueError, match='of logistic_regression must be DenseLayers, got Boost'):
        make_classifier(make_trees(), kind='logistic_regression')
    layers = DenseLayers(((np.zeros((1, 2)), np.zeros(1)),), np.zeros(2), np.ones(2))
    with pytest.raises(ValueError, match='of gradient_boosting must be BoostedTrees, got Dense'):
        make_classifier(layers)


def test_survives_the_disk_beside_another_kind_bit_for_bit(tmp_path):
    rng = np.random.default_rng(5)
    grown = grow_at_random(rng, trees=7, width=2, depth=5)
    layers = DenseLayers(((np.ones((1, 2)), np.zeros(1)),), np.zeros(2), np.ones(2))
    made = [
        make_classifier(grown, calibration=(0.7, 0.1), network_sha256='ab', score='margin'),
        make_classifier(layers, kind='logistic_regression', entropy_threshold=0.7),
    ]
    path = tmp_path / 'meta_classifier.safetensors'
    save_meta_classifiers(path, made)
    first = path.read_bytes()
    save_meta_classifiers(path, made)
    assert path.read_bytes() == first
    metrics = rng.normal(size=(40, 2))
    for before, after in zip(made, load_meta_classifiers(path), strict=True):
        assert (after.kind, after.calibration) == (before.kind, before.calibration)
        assert (after.network_sha256, after.score) == (before.network_sha256, before.score)
        np.testing.assert_array_equal(after.predict(metrics), before.predict(metrics))


def test_files_without_trees_are_what_they_were_and_those_with_trees_say_so():
    for folder in installed_bundles().values():
        content = (folder / 'meta_classifier.safetensors').read_bytes()
        classifiers = parse_meta_classifiers(content, folder)
        assert pack_meta_classifiers(classifiers) == content
    # a robot that knows no trees looks for the mark /1, and names it where it is missing
    assert list(read_metadata(pack_meta_classifiers([make_classifier(make_trees())]))) == [
        'meta_ood.meta_classifiers/2'
    ]


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        (b'-1.0', b'NaN ', r'got: prior of a meta .* got \[nan\]'),
        (b'prior', b'prier', "got: 'layers'"),
        (
            b'gradient_boosting',
            b'gradient_roasting',
            "got: kind must be one of .* 'gradient_roasting'",
        ),
        (b'0.features', b'0.feathers', "got: '0.features'"),
        (np.float64(10.0).tobytes(), np.float64(np.nan).tobytes(), r'got: thresholds .* \[nan\]'),
        (
            np.int32([[1, 4]]).tobytes(),
            np.int32([[0, 4]]).tobytes(),
            'got: .* children behind their',
        ),
        (b'meta_classifiers/2', b'meta_classifiers/3', "got: a header without 'meta_ood.meta_"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, old, new, message):
    content = pack_meta_classifiers([make_classifier(make_trees())])
    assert content.count(old) >= 1
    path = tmp_path / 'meta_classifier.safetensors'
    path.write_bytes(content.replace(old, new))
    match = f'must be a file of meta classifiers, .*{message}'
    with pytest.raises(ValueError, match=match):
        load_meta_classifiers(path)


def test_a_bundle_carries_trees_from_disk_to_the_segments(tiny_bundle, tmp_path):
    names = tiny_bundle.meta_classifiers[0].metric_names
    grown = make_classifier(
        grow_at_random(np.random.default_rng(1), trees=30, width=len(names), depth=4),
        metric_names=names,
    )
    save_bundle(replace(tiny_bundle, meta_classifiers=(grown,)), tmp_path / 'trees')
    (loaded,) = load_bundle(tmp_path / 'trees').meta_classifiers
    metrics = np.random.default_rng(2).normal(size=(9, len(names)))
    np.testing.assert_array_equal(loaded.predict(metrics), grown.predict(metrics))
