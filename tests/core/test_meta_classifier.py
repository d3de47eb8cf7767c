"""Meta classifier inference: hand-computed, against scikit-learn and torch, round trip on disk."""

from dataclasses import replace

from meta_ood_ros.core.files.meta_classifier_file import (
    load_meta_classifiers,
    save_meta_classifiers,
)
from meta_ood_ros.core.meta_classifier import (
    find_nearest_classifier,
    MetaClassifier,
)
from meta_ood_ros.core.meta_models.dense_layers import DenseLayers
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.segment_metrics import metric_names, SegmentMetrics
from meta_ood_ros.core.settings import PipelineSettings
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
import torch


def make_classifier(weight=(1.0, -2.0), bias=0.5, **changes):
    model = {
        'layers': ((np.array([weight]), np.array([bias])),),
        'mean': np.array([10.0, 20.0]),
        'scale': np.array([2.0, 4.0]),
    }
    model |= {name: changes.pop(name) for name in list(changes) if name in model}
    arguments = {
        'kind': 'logistic_regression',
        'model': DenseLayers(**model),
        'metric_names': ('size', 'entropy_mean'),
        'entropy_threshold': 0.5,
    }
    return MetaClassifier(**(arguments | changes))


def test_logistic_regression_by_hand():
    # z = (1, -1), logit = 1 + 2 + 0.5 = 3.5
    got = make_classifier().predict(np.array([[12.0, 16.0]]))
    np.testing.assert_allclose(got, [1 / (1 + np.exp(-3.5))], rtol=1e-6)
    assert got.dtype == np.float32


def test_calibration_acts_on_the_logit():
    got = make_classifier(calibration=(2.0, -7.0)).predict(np.array([[12.0, 16.0]]))
    np.testing.assert_allclose(got, [0.5], rtol=1e-6)  # 2 x 3.5 - 7 = 0


def test_far_away_metrics_saturate_without_warning(recwarn):
    got = make_classifier().predict(np.array([[1e9, 0.0], [-1e9, 0.0]]))
    np.testing.assert_array_equal(got, np.array([1 - 2.0**-24, 0.0], np.float32))
    assert not recwarn.list


@pytest.mark.parametrize('logit', [17.0, 17.4, 40.0, 1e300])
def test_a_meta_threshold_of_one_accepts_none_and_any_below_the_surest(logit):
    got = make_classifier(weight=(0.0, 0.0), bias=logit).predict(np.array([[12.0, 16.0]]))
    assert got.dtype == np.float32
    assert not (got >= np.float32(1.0)).any()
    assert (got >= np.float32(0.9999999)).all()
    assert got >= np.float32(1 / (1 + np.exp(-16.9)))


@pytest.mark.parametrize(('threshold', 'accepted'), [(0.0, True), (0.9999, True), (1.0, False)])
def test_the_pipeline_accepts_none_at_a_meta_threshold_of_one(tiny_bundle, threshold, accepted):
    (classifier,) = tiny_bundle.meta_classifiers
    ((weight, bias),) = classifier.model.layers
    surest = replace(classifier.model, layers=((0.0 * weight, bias + 40.0),))
    surest = replace(classifier, model=surest)
    pipeline = OodPipeline(replace(tiny_bundle, meta_classifiers=(surest,)))
    settings = PipelineSettings(entropy_threshold=0.5, meta_threshold=threshold)
    result = pipeline.from_logits(torch.zeros(19, 8, 8), (8, 8), settings=settings)
    assert result.accepted.tolist() == [accepted]  # one segment: the whole image


def test_metrics_that_are_not_numbers_are_no_rejection_but_an_error():
    match = r'of segment 2 must be a number, got NaN from size = nan. The network gave no numbers'
    with pytest.raises(ValueError, match=match):
        make_classifier().predict(np.array([[1.0, 2.0], [np.nan, 16.0]]))


def test_numbers_that_overflow_are_an_error():
    layers = (
        (np.array([[1e308, 0.0], [1e308, 0.0]]), np.zeros(2)),
        (np.array([[1.0, -1.0]]), np.zeros(1)),
    )
    match = 'of segment 1 must be a number, got NaN from size = 1e[+]06. Fit the meta classifier'
    with pytest.raises(ValueError, match=match):  # infinity minus infinity
        make_classifier(kind='neural_network', layers=layers).predict(np.array([[1e6, 0.0]]))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            {'mean': np.array([np.nan, 0.0])},
            'mean of a meta .* finite numbers, got \\[nan\\]',
        ),
        ({'scale': np.array([np.inf, 1.0])}, 'scale of a meta .* finite numbers, got \\[inf\\]'),
        ({'scale': np.array([1.0, 0.0])}, 'scale .* must be positive, got 0.0 for entropy_mean'),
        ({'scale': np.array([-2.0, 1.0])}, 'scale .* must be positive, got -2.0 for size. Fit'),
        ({'weight': (-np.inf, 0.0)}, 'weight of layer 0 of a meta .* numbers, got \\[-inf\\]'),
        ({'bias': np.nan}, 'bias of layer 0 of a meta .* numbers, got \\[nan\\]'),
        ({'calibration': (np.nan, 0.0)}, 'calibration of a meta .* numbers, got \\[nan\\]'),
        ({'mean': np.array(['a', 'b'])}, "mean of a meta .* numbers, got \\['a'\\]"),
        ({'entropy_threshold': np.nan}, r'entropy_threshold of a meta .* \(0, 1\], got nan'),
        ({'entropy_threshold': True}, r'entropy_threshold of a meta .* \(0, 1\], got True'),
    ],
)
def test_numbers_that_are_none_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        make_classifier(**change)


def test_no_segment_gives_an_empty_array_of_the_right_type():
    got = make_classifier().predict(np.zeros((0, 2)))
    assert got.shape == (0,)
    assert got.dtype == np.float32


def test_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    metrics = rng.normal(size=(200, 5)) * [1, 10, 100, 0.1, 3] + 4
    is_true_ood = rng.random(200) < 1 / (1 + np.exp(-(metrics[:, 0] - 4)))
    mean, scale = metrics.mean(0), metrics.std(0)
    model = LogisticRegression(solver='liblinear').fit((metrics - mean) / scale, is_true_ood)
    ours = make_classifier(
        layers=((model.coef_, model.intercept_),),
        mean=mean,
        scale=scale,
        metric_names=tuple('abcde'),
    )
    np.testing.assert_allclose(
        ours.predict(metrics), model.predict_proba((metrics - mean) / scale)[:, 1], atol=1e-6
    )


def test_neural_network_agrees_with_torch():
    torch.manual_seed(0)
    linears = [torch.nn.Linear(75, 75) for _ in range(3)] + [torch.nn.Linear(75, 1)]
    layers = [part for one in linears for part in (one, torch.nn.ReLU())][:-1]
    model = torch.nn.Sequential(*layers, torch.nn.Sigmoid()).double()
    metrics = np.random.default_rng(1).normal(size=(40, 75))
    ours = make_classifier(
        kind='neural_network',
        layers=tuple((x.weight.detach().numpy(), x.bias.detach().numpy()) for x in linears),
        mean=np.zeros(75),
        scale=np.ones(75),
        metric_names=metric_names(19),
    )
    expected = model(torch.from_numpy(metrics)).detach().numpy()[:, 0]
    np.testing.assert_allclose(ours.predict(metrics), expected, atol=1e-6)
    assert (
        sum(w.size + b.size for w, b in ours.model.layers) == 17_176
    )  # Runtas & Petkovic, table 1


def test_foreign_metrics_are_refused():
    with pytest.raises(ValueError, match=r'metrics must have shape \(K, 2\), got \(3, 4\)'):
        make_classifier().predict(np.zeros((3, 4)))
    foreign = SegmentMetrics(values=np.zeros((1, 2)), names=('size', 'margin_mean'))
    with pytest.raises(ValueError, match='missing: entropy_mean. Fit it again'):
        make_classifier().predict(foreign)


def test_layers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match='must map 2 metrics to one logit by arrays of shape'):
        make_classifier(layers=((np.zeros((1, 3)), np.zeros(1)),))
    with pytest.raises(ValueError, match="kind must be one of .* got 'forest'"):
        make_classifier(kind='forest')


def test_several_classifiers_survive_the_disk_bit_for_bit(tmp_path):
    path = tmp_path / 'meta_classifier.safetensors'
    made = [
        make_classifier((0.1 + t, t), t, entropy_threshold=t, calibration=(1.5, -t))
        for t in (0.3, 0.7)
    ]
    save_meta_classifiers(path, made)
    first = path.read_bytes()
    save_meta_classifiers(path, made)
    assert path.read_bytes() == first  # else the digest of a bundle would vary
    metrics = np.random.default_rng(2).normal(size=(9, 2))
    for before, after in zip(made, load_meta_classifiers(path), strict=True):
        assert after.entropy_threshold == before.entropy_threshold
        assert after.metric_names == before.metric_names
        np.testing.assert_array_equal(after.predict(metrics), before.predict(metrics))


def test_damaged_or_foreign_file_is_refused(tmp_path):
    path = tmp_path / 'meta_classifier.safetensors'
    save_meta_classifiers(path, [make_classifier()])
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match='must be a file of meta class.*, got: .*or fit again'):
        load_meta_classifiers(path)


def test_two_classifiers_of_one_threshold_are_refused(tmp_path):
    with pytest.raises(ValueError, match='each meta classifier needs its own entropy threshold'):
        save_meta_classifiers(tmp_path / 'x', [make_classifier(), make_classifier()])


def test_nearest_classifier_by_threshold_and_the_lower_of_two():
    three = [make_classifier(entropy_threshold=t) for t in (0.7, 0.3, 0.5)]
    assert find_nearest_classifier(three, 0.9).entropy_threshold == 0.7
    assert find_nearest_classifier(three, 0.4).entropy_threshold == 0.3
    assert find_nearest_classifier(three, 0.5).entropy_threshold == 0.5
    assert find_nearest_classifier([], 0.5) is None
