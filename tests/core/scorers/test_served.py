"""Scores as a pipeline serves them: in [0, 1], thresholded, kept in a bundle."""

from dataclasses import replace
import math

from meta_ood_ros.core import PipelineSettings
from meta_ood_ros.core.bundle_files import load_bundle, save_bundle, SCORE_FILE
from meta_ood_ros.core.files.bundle_checks import BundleError
from meta_ood_ros.core.files.meta_classifier_file import (
    pack_meta_classifiers,
    parse_meta_classifiers,
)
from meta_ood_ros.core.image import to_network_input
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.result_files import load_result, save_result
from meta_ood_ros.core.scorers import (
    FittedScore,
    MaxLogitScorer,
    MaxSoftmaxScorer,
    SCORERS,
    ScoreScale,
    VimScorer,
)
from meta_ood_ros.core.settings import SCORES
import numpy as np
import pytest

IMAGE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)


def scale(low, high):
    return ScoreScale(np.array([low, high], np.float32), np.array([0, 1], np.float32))


@pytest.fixture(scope='module')
def bare(tiny_bundle):
    last = 'bu_dec_l4.merge_layer.3.weight'  # random logits are all alike: spread them
    weights = dict(tiny_bundle.weights) | {last: tiny_bundle.weights[last] * 300}
    return replace(tiny_bundle, weights=weights, meta_classifiers=())


@pytest.fixture(scope='module')
def logits(bare):
    x = to_network_input(IMAGE, mean=bare.input_mean, std=bare.input_std)
    return [one.detach()[0] for one in bare.build_network().with_features(x)]


@pytest.fixture(scope='module')
def with_max_logit(bare, logits):
    scores = MaxLogitScorer(align_corners=True).score(IMAGE, logits[0])
    fitted = FittedScore('max_logit', {}, scale(scores.min(), scores.max()))
    return replace(bare, score='max_logit', fitted_score=fitted, entropy_threshold=0.8)


def test_settings_name_every_score():
    assert tuple(SCORERS) == SCORES
    assert all(scorer.name == name for name, scorer in SCORERS.items())


def test_a_scale_is_linear_between_its_values_and_constant_outside():
    one = ScoreScale(np.array([-1, 0, 4], np.float32), np.array([0, 0.5, 1], np.float32))
    found = one(np.array([-9, -1, -0.5, 0, 2, 4, 9], np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [0, 0, 0.25, 0.5, 0.75, 1, 1])


@pytest.mark.parametrize(
    ('values', 'shares'),
    [
        ([0, 0], [0, 1]),
        ([0, 1], [0.5, 0.2]),
        ([0, 1], [0, 1.5]),
        ([0, math.nan], [0, 1]),
        ([0], [0]),
        ([0, 1], [0]),
    ],
)
def test_what_is_no_scale_is_refused(values, shares):
    with pytest.raises(ValueError, match='scale of a score must have two or more ascending'):
        ScoreScale(np.array(values, np.float32), np.array(shares, np.float32))


def test_msp_is_served_over_log_c_and_thresholded(bare, logits):
    settings = PipelineSettings(score='msp', entropy_threshold=0.3)
    pipeline = OodPipeline(bare, settings, backend='eager')
    result = pipeline(IMAGE)
    expected = MaxSoftmaxScorer(align_corners=True).score(IMAGE, logits[0]) / math.log(19)
    np.testing.assert_allclose(result.entropy, expected, atol=1e-4)
    np.testing.assert_array_equal(result.segments.labels > 0, result.entropy >= np.float32(0.3))
    assert result.score == pipeline.score == 'msp'
    plain = OodPipeline(bare, backend='eager')(IMAGE)
    assert plain.score == 'entropy'
    assert np.abs(plain.entropy - result.entropy).max() > 0.05
    np.testing.assert_array_equal(plain.semantic, result.semantic)


def test_a_bundle_carries_its_score(with_max_logit, logits, tmp_path):
    saved = save_bundle(with_max_logit, tmp_path / 'b')
    loaded = load_bundle(tmp_path / 'b')
    assert loaded.score == 'max_logit'
    assert loaded.fitted_score.network_sha256 == saved.network_sha256
    result = OodPipeline(loaded, backend='eager')(IMAGE)
    scores = MaxLogitScorer(align_corners=True).score(IMAGE, logits[0])
    expected = (scores - scores.min()) / (scores.max() - scores.min())
    np.testing.assert_allclose(result.entropy, expected, atol=1e-3)
    assert result.entropy_threshold == 0.8
    save_result(result, tmp_path / 'r.npz')
    assert load_result(tmp_path / 'r.npz').score == 'max_logit'


def test_a_bundle_of_entropy_is_written_as_before(bare, tmp_path):
    save_bundle(bare, tmp_path / 'b')
    assert 'score:' not in (tmp_path / 'b/bundle.yaml').read_text()
    assert not (tmp_path / 'b' / SCORE_FILE).exists()
    assert load_bundle(tmp_path / 'b').score == 'entropy'


def test_a_damaged_score_file_is_refused(with_max_logit, tmp_path):
    save_bundle(with_max_logit, tmp_path / 'b')
    (tmp_path / 'b' / SCORE_FILE).write_bytes(b'no tensors at all')
    with pytest.raises(BundleError, match='score.safetensors must have the SHA-256'):
        load_bundle(tmp_path / 'b')
    text = (tmp_path / 'b/bundle.yaml').read_text()
    (tmp_path / 'b/bundle.yaml').write_text(text[: text.index('sha256:')])
    with pytest.raises(BundleError, match='must be a file of a fitted score, got'):
        load_bundle(tmp_path / 'b')


def test_the_fit_of_another_network_is_refused(with_max_logit, tmp_path):
    fitted = replace(with_max_logit.fitted_score, network_sha256='0' * 64)
    with pytest.raises(BundleError, match='score max_logit must be fitted for the network beside'):
        save_bundle(replace(with_max_logit, fitted_score=fitted), tmp_path / 'b')


def test_scores_that_do_not_fit_the_bundle_are_refused(bare, with_max_logit):
    with pytest.raises(BundleError, match="score must be one of entropy, .* got 'maxlogit'"):
        replace(bare, score='maxlogit')
    with pytest.raises(BundleError, match='score energy must be fitted for the network'):
        replace(bare, score='energy')
    with pytest.raises(BundleError, match='must be the one that was fitted, max_logit'):
        replace(with_max_logit, score='energy')
    settings = PipelineSettings(score='energy', entropy_threshold=0.5)
    with pytest.raises(ValueError, match='Fit it: meta-ood-train fit-score energy'):
        OodPipeline(bare, settings, backend='eager')


def test_another_score_needs_a_threshold_of_its_own(bare):
    with pytest.raises(ValueError, match='entropy_threshold must be set where score is margin'):
        OodPipeline(bare, PipelineSettings(score='margin'), backend='eager')


def test_a_meta_classifier_of_another_score_is_refused(tiny_bundle):
    settings = PipelineSettings(score='margin', entropy_threshold=0.5)
    with pytest.raises(ValueError, match='segments of score margin, got one for entropy. Set sco'):
        OodPipeline(tiny_bundle, settings, backend='eager')
    (one,) = tiny_bundle.meta_classifiers
    (again,) = parse_meta_classifiers(pack_meta_classifiers([one]), 'file')
    assert again.score == 'entropy'
    of_margin = replace(one, score='margin')
    (again,) = parse_meta_classifiers(pack_meta_classifiers([of_margin]), 'file')
    assert again.score == 'margin'
    served = replace(tiny_bundle, meta_classifiers=(again,))
    assert OodPipeline(served, settings, backend='eager')(IMAGE).classifier_threshold == 0.5


def vim_bundle(bare, logits):
    rng = np.random.default_rng(1)
    count = logits[1].shape[0]
    residual = np.linalg.qr(rng.normal(size=(count, 3)))[0].T
    scorer = VimScorer(rng.normal(size=count), residual, 2.0, align_corners=True)
    scores = scorer.score(IMAGE, *logits)
    fitted = FittedScore('vim', scorer.state(), scale(scores.min(), scores.max()))
    return replace(bare, score='vim', fitted_score=fitted), fitted.scale(scores)


@pytest.mark.parametrize('backend', ['eager', 'onnx'])
def test_features_reach_the_score_through_a_backend(bare, logits, backend):
    if backend == 'onnx':
        pytest.importorskip('onnxruntime')
    bundle, expected = vim_bundle(bare, logits)
    result = OodPipeline(bundle, backend=backend)(IMAGE)
    np.testing.assert_allclose(result.entropy, expected, atol=2e-3)
    assert result.score == 'vim'
