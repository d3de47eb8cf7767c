"""What is published of judged segments: drawings, and a second implementation."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from meta_ood_ros.core import OodPipeline, PipelineSettings
from meta_ood_ros.core.decision import publish_cores
from meta_ood_ros.core.segments import find_segments
import numpy as np
import pytest
from scipy import ndimage
import torch

LOW, HIGH = 0.4, 0.8


def draw(text: str) -> np.ndarray:
    """Return a score in tenths."""
    return np.array([[int(one) for one in line] for line in text.split()], np.float32) / 10


def publish(score: np.ndarray, accepted: list, **options) -> tuple[list, list]:
    judged = find_segments(score >= np.float32(LOW))
    segments, row = publish_cores(judged, np.array(accepted, bool), score, HIGH, **options)
    assert segments.labels.max(initial=0) == segments.count == len(row)
    return segments.labels.tolist(), row.tolist()


def test_an_accepted_segment_gives_its_cores_a_rejected_one_stays():
    score = draw("""
        5990988
        5550088
    """)
    labels, row = publish(score, [True, False])
    assert labels == [[0, 1, 1, 0, 2, 2, 2], [0, 0, 0, 0, 0, 2, 2]]
    assert row == [0, 1]


def test_a_segment_without_core_is_published_whole():
    assert publish(draw('555 000 999'), [True, True]) == (
        [[1, 1, 1], [0, 0, 0], [2, 2, 2]],
        [0, 1],
    )


@pytest.mark.parametrize(('length', 'cores'), [(5, 2), (6, 1)])
def test_a_core_has_a_fifth_of_the_largest(length, cores):
    assert publish(draw('95' + '9' * length), [True])[1] == [0] * cores


def test_what_is_too_small_is_no_core():
    assert publish(draw('9559995'), [True], min_size_px=3)[0] == [[0, 0, 0, 1, 1, 1, 0]]
    assert publish(draw('9559995'), [True], min_size_px=4)[0] == [[1] * 7]


def test_numbers_follow_the_first_pixels():
    # the segment that comes first in the image has its core last
    score = draw("""
        5000
        5099
        5000
        9000
    """)
    assert publish(score, [True, True]) == (
        [[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0], [2, 0, 0, 0]],
        [1, 0],
    )


@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20),
        elements=st.sampled_from([np.float32(one / 10) for one in (0, 4, 5, 8, 9)]),
    ),
    st.integers(0, 2**16),
    st.integers(0, 4),
)
@settings(deadline=None)
def test_against_scipy(score, seed, min_size_px):
    judged = find_segments(score >= np.float32(LOW))
    accepted = np.random.default_rng(seed).random(judged.count) < 0.6
    segments, row = publish_cores(judged, accepted, score, HIGH, min_size_px=min_size_px)
    expected = []
    for k in range(judged.count):
        inside = judged.labels == k + 1
        parts, count = ndimage.label(inside & (score >= np.float32(HIGH)), np.ones((3, 3)))
        masks = [parts == one for one in range(1, count + 1)]
        masks = [one for one in masks if accepted[k] and one.sum() >= max(min_size_px, 1)]
        most = max((int(one.sum()) for one in masks), default=0)
        masks = [one for one in masks if 5 * one.sum() >= most] or [inside]
        expected += [(int(one.ravel().argmax()), k, one) for one in masks]
    expected.sort(key=lambda one: one[0])
    assert row.tolist() == [k for _, k, _ in expected]
    labels = sum((number * one for number, (*_, one) in enumerate(expected, 1)), 0 * judged.labels)
    np.testing.assert_array_equal(segments.labels, labels)


@pytest.fixture
def logits() -> torch.Tensor:
    """Return an unsure square with a surer frame around it, and a sure rest."""
    values = torch.zeros(19, 24, 32)
    values[0] = 50.0
    values[0, 4:20, 4:20] = 3.0
    values[0, 8:16, 8:16] = 0.0
    return values


def test_the_pipeline_judges_low_and_publishes_high(tiny_bundle, logits):
    pipeline = OodPipeline(tiny_bundle)
    judge = PipelineSettings(entropy_threshold=0.3, meta_threshold=0.0, core_threshold=0.0)
    whole = pipeline.from_logits(logits, (24, 32), settings=judge)
    cut = pipeline.from_logits(logits, (24, 32), settings=replace(judge, core_threshold=0.99))
    assert (whole.core_threshold, cut.core_threshold) == (0.0, 0.99)
    assert whole.summary.boxes.tolist() == [[4, 4, 16, 16]]
    assert cut.summary.boxes.tolist() == [[8, 8, 8, 8]]
    assert cut.summary.score_mean[0] == pytest.approx(1.0, abs=1e-6)
    # judged as a whole: by the same metrics, with the same probability
    np.testing.assert_array_equal(cut.metrics.values, whole.metrics.values)
    np.testing.assert_array_equal(cut.ood_probability, whole.ood_probability)
    assert cut.accepted.tolist() == [True]
    none = replace(judge, core_threshold=0.99, meta_threshold=1.0)
    rejected = pipeline.from_logits(logits, (24, 32), settings=none)
    np.testing.assert_array_equal(rejected.segments.labels, whole.segments.labels)


@pytest.mark.parametrize('core', [0.0, 0.1, 0.3])
def test_a_core_threshold_not_above_the_other_changes_nothing(tiny_bundle, logits, core):
    pipeline = OodPipeline(replace(tiny_bundle, core_threshold=core))
    judge = PipelineSettings(entropy_threshold=0.3, meta_threshold=0.0)
    result = pipeline.from_logits(logits, (24, 32), settings=judge)
    assert result.core_threshold == 0.0
    assert result.summary.boxes.tolist() == [[4, 4, 16, 16]]


def test_settings_go_before_the_bundle(tiny_bundle):
    pipeline = OodPipeline(replace(tiny_bundle, entropy_threshold=0.4, core_threshold=0.8))
    for chosen, expected in ((-1.0, 0.8), (0.0, 0.0), (0.6, 0.6), (0.4, 0.0)):
        settings = PipelineSettings(core_threshold=chosen)
        assert pipeline.effective_core_threshold(settings) == expected
