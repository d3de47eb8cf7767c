"""The pipeline against the same steps written again with torch and scipy."""

from dataclasses import replace
import math

from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.settings import PipelineSettings
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch

SCENE = np.random.default_rng(5).integers(0, 256, (12, 16, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def image():
    return np.kron(SCENE, np.ones((12, 12, 1), dtype=np.uint8))  # (144, 192, 3) of flat patches


@pytest.fixture(scope='module')
def pipeline(tiny_bundle):
    return OodPipeline(tiny_bundle)


@pytest.fixture(scope='module')
def threshold(pipeline, image):
    """Return a threshold that leaves a tenth of the pixels OoD: random weights have no other."""
    return float(np.quantile(pipeline(image).entropy, 0.9))


def upsampled(logits, size, align_corners):
    return torch.nn.functional.interpolate(
        logits[None].double(), size=size, mode='bilinear', align_corners=align_corners
    )[0]


def test_agrees_with_the_steps_written_again(tiny_bundle, pipeline, image, threshold):
    result = pipeline(image, settings=PipelineSettings(entropy_threshold=threshold))
    network = tiny_bundle.build_network()
    size = (96, 128)  # short side 96, aspect 4:3
    assert result.work_size == size
    small = image.reshape(144, 192, 3)
    import cv2

    x = cv2.resize(small, (128, 96), interpolation=cv2.INTER_AREA) / 255.0
    x = (x - np.array(tiny_bundle.input_mean)) / np.array(tiny_bundle.input_std)
    with torch.inference_mode():
        logits = network(torch.from_numpy(x.transpose(2, 0, 1)[None]).float())[0]
    probabilities = upsampled(logits, size, network.align_corners).softmax(0).numpy()
    entropy = scipy.stats.entropy(probabilities, axis=0) / math.log(19)
    np.testing.assert_allclose(result.entropy, entropy, atol=1e-5)
    np.testing.assert_allclose(result.max_probability, probabilities.max(0), atol=1e-5)
    labels, count = scipy.ndimage.label(result.entropy >= np.float32(threshold), np.ones((3, 3)))
    assert count == result.segments.count > 3
    np.testing.assert_array_equal(result.segments.labels, labels)
    assert result.metrics.values.shape == (count, 75)
    means = scipy.ndimage.mean(entropy, labels, range(1, count + 1))
    column = result.metrics.names.index('entropy_mean')
    np.testing.assert_allclose(result.metrics.values[:, column], means, atol=1e-5)
    expected = tiny_bundle.meta_classifiers[0].predict(result.metrics)
    np.testing.assert_array_equal(result.ood_probability, expected)
    np.testing.assert_array_equal(result.accepted, expected >= 0.5)


def test_from_logits_is_the_rest_of_the_way(tiny_bundle, pipeline, image):
    from meta_ood_ros.core.image import to_network_input

    whole = pipeline(image)
    x = to_network_input(image, whole.work_size)
    with torch.inference_mode():
        rest = pipeline.from_logits(tiny_bundle.build_network()(x)[0], whole.work_size)
    np.testing.assert_allclose(rest.entropy, whole.entropy, atol=1e-5)
    assert rest.image_size == rest.work_size == whole.work_size


def test_certain_network_finds_nothing(pipeline):
    logits = torch.zeros(19, 24, 32)
    logits[3] = 200.0
    result = pipeline.from_logits(logits, (96, 128))
    assert result.segments.count == 0
    assert (result.semantic == 3).all()
    assert not result.entropy.any()
    assert result.ood_probability.shape == result.accepted.shape == (0,)
    assert result.ood_probability.dtype == np.float32
    assert result.accepted.dtype == bool
    assert result.metrics.values.shape == (0, 75)


def test_unsure_square_is_one_segment(pipeline):
    logits = torch.zeros(19, 24, 32)
    logits[0] = 50.0
    logits[0, 8:16, 8:16] = 0.0  # uniform: normalized entropy 1
    result = pipeline.from_logits(logits, (24, 32))
    assert result.segments.count == 1
    ys, xs = np.nonzero(result.segments.labels)
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (8, 15, 8, 15)
    assert result.entropy.max() == pytest.approx(1.0, abs=1e-6)
    assert result.class_id.tolist() == [0]  # all tie: the lowest


def test_threshold_is_reached_not_exceeded(pipeline):
    result = pipeline.from_logits(
        torch.zeros(19, 8, 8), (8, 8), settings=PipelineSettings(entropy_threshold=1.0)
    )
    assert result.segments.labels.all()  # entropy is exactly 1, and counts


def test_a_mask_covers_each_cell_that_holds_an_ignored_pixel(pipeline, image):
    settings = PipelineSettings(entropy_threshold=1e-6)
    mask = np.zeros(image.shape[:2], dtype=bool)
    mask[:4, :], mask[:, 7] = True, True
    labels = pipeline(image, settings=settings, ignore_mask=mask).segments.labels
    rows = ((2 * np.arange(mask.shape[0]) + 1) * labels.shape[0]) // (2 * mask.shape[0])
    columns = ((2 * np.arange(mask.shape[1]) + 1) * labels.shape[1]) // (2 * mask.shape[1])
    received = labels[rows][:, columns]
    assert labels.shape[0] < mask.shape[0]
    assert not received[mask].any()
    assert received.any()


def test_ignored_pixels_are_never_ood(pipeline, image, threshold):
    settings = PipelineSettings(entropy_threshold=threshold)
    mask = np.zeros(image.shape[:2], dtype=bool)
    mask[:, :96] = True  # the left half
    result = pipeline(image, settings=settings, ignore_mask=mask)
    plain = pipeline(image, settings=settings)
    assert not result.segments.labels[:, :64].any()
    np.testing.assert_array_equal(
        result.segments.labels[:, 64:] > 0, (plain.segments.labels > 0)[:, 64:]
    )
    np.testing.assert_array_equal(result.entropy, plain.entropy)
    everything = pipeline(image, settings=settings, ignore_mask=np.ones_like(mask))
    assert everything.segments.count == 0
    with pytest.raises(
        ValueError, match=r'ignore_mask must have shape \(144, 192\) and type bool'
    ):
        pipeline(image, ignore_mask=mask[:-1])


def test_min_size_counts_work_pixels_and_the_bundle_may_name_it(tiny_bundle, image, threshold):
    settings = PipelineSettings(entropy_threshold=threshold)
    every = OodPipeline(tiny_bundle)(image, settings=settings)
    sizes = every.metrics.values[:, 0]
    least = int(np.sort(sizes)[len(sizes) // 2]) + 1
    for result in (
        OodPipeline(tiny_bundle)(image, settings=replace(settings, min_size_px=least)),
        OodPipeline(replace(tiny_bundle, min_size_px=least))(image, settings=settings),
    ):
        assert result.segments.count == (sizes >= least).sum() < every.segments.count
        assert result.metrics.values[:, 0].min() >= least


def test_without_meta_classifier_all_are_accepted(tiny_bundle, image, threshold):
    pipeline = OodPipeline(replace(tiny_bundle, meta_classifiers=()))
    result = pipeline(image, settings=PipelineSettings(entropy_threshold=threshold))
    assert np.isnan(result.ood_probability).all()
    assert result.accepted.all()
    assert result.accepted.size > 0
    assert result.classifier_threshold is None


def test_meta_threshold_zero_accepts_all(pipeline, image, threshold):
    settings = PipelineSettings(entropy_threshold=threshold, meta_threshold=0.0)
    result = pipeline(image, settings=settings)
    assert result.accepted.all()
    assert not np.isnan(result.ood_probability).any()
    assert result.classifier_threshold == 0.5


def test_one_scene_at_twice_the_resolution_gives_the_same_segments(pipeline, threshold):
    settings = PipelineSettings(entropy_threshold=threshold)
    one = np.kron(SCENE, np.ones((8, 8, 1), dtype=np.uint8))  # 96 x 128, the work size itself
    two = np.kron(SCENE, np.ones((16, 16, 1), dtype=np.uint8))
    first, second = pipeline(one, settings=settings), pipeline(two, settings=settings)
    assert first.image_size != second.image_size
    np.testing.assert_array_equal(first.segments.labels, second.segments.labels)
    np.testing.assert_array_equal(first.accepted, second.accepted)


def test_nan_logits_are_an_error_and_not_a_result(pipeline):
    logits = torch.zeros(19, 8, 8)
    logits[4, 3, 3] = math.nan
    with pytest.raises(ValueError, match='finite'):
        pipeline.from_logits(logits, (32, 32))


@pytest.mark.parametrize('shape', [(96, 128), (0, 128, 3), (96, 128, 4)])
def test_what_is_no_image_is_refused(pipeline, shape):
    with pytest.raises(ValueError, match='image must have'):
        pipeline(np.zeros(shape, dtype=np.uint8))


def test_stages_are_timed(pipeline, image):
    stages = ['preparation', 'network', 'dense', 'segments', 'metrics', 'meta_classifier']
    assert list(pipeline(image).milliseconds) == stages


def test_a_batch_gives_what_single_calls_give(pipeline, image, threshold):
    images = [image, image[::-1, ::-1].copy(), np.kron(SCENE, np.ones((8, 8, 1), np.uint8))]
    mask = np.zeros(images[1].shape[:2], bool)
    mask[:, :100] = True
    settings = [
        PipelineSettings(entropy_threshold=threshold),
        PipelineSettings(entropy_threshold=threshold, min_size_px=30),
        None,
    ]
    masks = [None, mask, None]
    together = pipeline.batch(images, settings=settings, ignore_masks=masks)
    for result, one, chosen, ignored in zip(together, images, settings, masks, strict=True):
        alone = pipeline(one, settings=chosen, ignore_mask=ignored)
        np.testing.assert_allclose(result.entropy, alone.entropy, atol=1e-5)
        assert abs(result.segments.count - alone.segments.count) <= 1  # a pixel at the threshold
        assert result.image_size == alone.image_size == one.shape[:2]
        assert result.entropy_threshold == alone.entropy_threshold
        assert (result.ignored is None) == (ignored is None)
        assert list(result.milliseconds) == list(alone.milliseconds)
    labels = together[1].segments.labels
    assert np.bincount(labels.ravel())[1:].min() >= 30
    assert not labels[together[1].ignored].any()


def test_a_batch_runs_the_network_once(pipeline, image, monkeypatch):
    shapes, backend = [], pipeline.backend

    class Watched:
        device = backend.device

        def __call__(self, x):
            shapes.append(tuple(x.shape))
            return backend(x)

    monkeypatch.setattr(pipeline, 'backend', Watched())
    pipeline.batch([image] * 3)
    assert shapes == [(3, 3, 96, 128)]


def test_images_of_several_work_sizes_make_no_batch(pipeline, image):
    with pytest.raises(ValueError, match='one work size'):
        pipeline.batch([image, image[:, :144].copy()])
