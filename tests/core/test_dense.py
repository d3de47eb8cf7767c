"""The fused dense pass against interpolate -> softmax -> entropy and argmax in float64."""

import math
import subprocess
import sys
import threading

from meta_ood_ros.core.dense import predict_dense
from meta_ood_ros.core.kernels.dense_cpu import predict_on_cpu
from meta_ood_ros.core.kernels.dense_torch import predict_in_strips
from meta_ood_ros.core.uncertainty import normalized_entropy, softmax_probabilities
import numpy as np
import pytest
import torch

# sizes of logits and image: up, down, both, equal, single pixels, sides beside every tile size
CASES = [
    ((19, 16, 32), (64, 128)),
    ((19, 13, 29), (101, 67)),
    ((5, 40, 70), (40, 70)),
    ((5, 40, 70), (21, 9)),
    ((3, 7, 90), (50, 31)),
    ((2, 1, 1), (3, 17)),
    ((4, 6, 5), (1, 1)),
    ((255, 5, 6), (33, 18)),
    ((100, 3, 300), (5, 1300)),
    ((7, 90, 100), (10, 8)),
]


def upsample(logits, size, align_corners):
    return torch.nn.functional.interpolate(
        logits.double()[None], size, mode='bilinear', align_corners=align_corners
    )[0]


def check(prediction, logits, size, align_corners, *, atol=1e-5):
    expected = upsample(logits, size, align_corners)
    assert prediction.semantic.dtype == np.uint8
    assert prediction.entropy.dtype == prediction.max_probability.dtype == np.float32
    entropy = normalized_entropy(expected).numpy()
    np.testing.assert_allclose(prediction.entropy, entropy, rtol=0, atol=atol)
    best = softmax_probabilities(expected).amax(0).numpy()
    np.testing.assert_allclose(prediction.max_probability, best, rtol=0, atol=atol)
    top = expected.topk(2, dim=0)
    clear = (top.values[0] - top.values[1] > 1e-4).numpy()
    np.testing.assert_array_equal(prediction.semantic[clear], top.indices[0].numpy()[clear])
    assert prediction.entropy.min() >= 0.0
    assert prediction.entropy.max() <= 1.0


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(('shape', 'size'), CASES)
def test_agrees_with_the_definition(shape, size, align_corners):
    torch.manual_seed(0)
    logits = torch.randn(shape) * 3
    check(predict_dense(logits, size, align_corners=align_corners), logits, size, align_corners)


@pytest.mark.parametrize('magnitude', [0.0, 1e-3, 20.0, 80.0])
def test_logits_of_every_magnitude(magnitude):
    torch.manual_seed(1)
    logits = (torch.rand(19, 20, 20) * 2 - 1) * magnitude
    logits[3, 5] = magnitude
    logits[4, 5] = -magnitude
    check(predict_dense(logits, (80, 80)), logits, (80, 80), False)


def test_a_common_offset_does_not_matter():
    torch.manual_seed(2)
    logits = torch.randn(6, 8, 8)
    plain, moved = predict_dense(logits, (30, 30)), predict_dense(logits + 64, (30, 30))
    np.testing.assert_allclose(moved.entropy, plain.entropy, atol=1e-5)


@pytest.mark.parametrize('threads', [1, 2, 5])
def test_any_number_of_threads(threads, monkeypatch):
    monkeypatch.setattr(torch, 'get_num_threads', lambda: threads)
    torch.manual_seed(3)
    logits = torch.randn(5, 30, 20)
    check(predict_dense(logits, (131, 90)), logits, (131, 90), False)


def test_two_cameras_at_once():
    torch.manual_seed(4)
    images = [torch.randn(4, 20, 20) for _ in range(4)]
    expected = [predict_dense(logits, (90, 70)).entropy for logits in images]
    found: dict[int, np.ndarray] = {}

    def run(i):
        for _ in range(5):
            found[i] = predict_dense(images[i], (90, 70)).entropy

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(4):
        np.testing.assert_array_equal(found[i], expected[i])


def test_certain_is_exactly_zero_and_undecided_is_one():
    logits = torch.zeros(19, 4, 4)
    logits[7] = 200.0
    certain = predict_dense(logits, (9, 9))
    assert not certain.entropy.any()
    assert (certain.max_probability == 1.0).all()
    assert (certain.semantic == 7).all()
    undecided = predict_dense(torch.full((19, 4, 4), -3.5), (9, 9))
    np.testing.assert_allclose(undecided.entropy, 1.0, atol=1e-6)
    np.testing.assert_allclose(undecided.max_probability, 1 / 19, rtol=1e-6)
    assert (undecided.semantic == 0).all()


def test_binary_entropy_by_hand():
    p = np.array([0.5, 0.8, 0.99], np.float32)
    logits = np.stack([np.log(p), np.log1p(-p)])[:, None]
    expected = [-(q * math.log2(q) + (1 - q) * math.log2(1 - q)) for q in p.astype(float)]
    prediction = predict_dense(logits, (1, 3))
    np.testing.assert_allclose(prediction.entropy[0], expected, atol=1e-6)
    np.testing.assert_allclose(prediction.max_probability[0], p, rtol=1e-6)


def test_a_tie_goes_to_the_lowest_class():
    torch.manual_seed(5)
    logits = torch.randn(6, 8, 9)
    best = logits.amax(0)
    logits[2] = logits[4] = best + 1
    assert (predict_dense(logits, (37, 50)).semantic == 2).all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_types(dtype):
    torch.manual_seed(6)
    logits = torch.randn(4, 6, 6).to(dtype)
    check(predict_dense(logits, (12, 12)), logits.double(), (12, 12), False)


@pytest.mark.filterwarnings('error')
def test_numpy_views_and_gradients():
    torch.manual_seed(7)
    batch = torch.randn(2, 6, 9, 5, requires_grad=True)
    channels_last = batch.to(memory_format=torch.channels_last)
    expected = predict_dense(batch[1], (18, 10))
    for logits in (channels_last[1], batch[1].detach().numpy(), batch[1].detach().numpy().copy()):
        prediction = predict_dense(logits, (18, 10))
        np.testing.assert_array_equal(prediction.entropy, expected.entropy)
    read_only = batch[1].detach().numpy().copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(predict_dense(read_only, (18, 10)).semantic, expected.semantic)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('place', [(0, 0, 0), (3, 7, 8), (2, 4, 4)])
def test_logits_that_are_no_numbers_are_refused(value, place):
    logits = torch.zeros(4, 8, 9)
    logits[place] = value
    message = (
        r'logits must be finite, got NaN or infinity among the \(4, 8, 9\) values\. '
        'Check the network: damaged weights, or an overflow in half precision'
    )
    for size in ((8, 9), (32, 36), (5, 9)):
        with pytest.raises(ValueError, match=message):
            predict_dense(logits, size)


@pytest.mark.parametrize(('shape', 'message'), [
    ((1, 4, 8, 8), r'logits must have shape \(C, h, w\) with C >= 2, got \(1, 4, 8, 8\)\. '
                   r'A batch is split by the caller: pass logits\[0\]'),
    ((1, 8, 8), r'with C >= 2, got \(1, 8, 8\)'),
    ((3, 0, 8), r'got \(3, 0, 8\)'),
    ((256, 2, 2), 'logits must have at most 255 classes, got 256'),
])  # fmt: skip
def test_shapes_that_do_not_fit_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        predict_dense(torch.zeros(shape), (8, 8))


def test_arrays_of_any_layout_and_byte_order_are_taken():
    logits = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    expected = predict_dense(logits, (20, 24)).entropy
    swapped = logits.astype('>f4')
    reversed_twice = np.ascontiguousarray(logits[:, ::-1])[:, ::-1]
    for other in (swapped, reversed_twice, np.asfortranarray(logits)):
        assert np.array_equal(predict_dense(other, (20, 24)).entropy, expected)


def test_integers_and_empty_sizes_are_refused():
    with pytest.raises(TypeError, match=r'logits must be floating point, got torch\.int32'):
        predict_dense(torch.zeros(3, 4, 4, dtype=torch.int32), (8, 8))
    with pytest.raises(ValueError, match=r'size must be \(height, width\).*got \(0, 8\)'):
        predict_dense(torch.zeros(3, 4, 4), (0, 8))


def test_never_holds_all_classes_at_full_size():
    program = """
import resource, torch
from meta_ood_ros.core.dense import predict_dense
logits = torch.zeros(100, 8, 8)
predict_dense(logits, (64, 64))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
predict_dense(logits, (1024, 1024))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True, timeout=120
    )
    # 9 bytes a pixel are the result; all classes at full size would be 419 MB.
    assert int(done.stdout) < 9 * 1024 * 1024 + 20_000_000


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(('shape', 'size'), CASES)
def test_strips_on_any_device_agree_with_the_definition(shape, size, align_corners, monkeypatch):
    from meta_ood_ros.core.dense import DensePrediction
    from meta_ood_ros.core.kernels import strips

    monkeypatch.setattr(strips, 'STRIP_NUMBERS', 3 * shape[0] * size[1])
    torch.manual_seed(8)
    logits = torch.randn(shape) * 3
    maps = predict_in_strips(logits, size, align_corners=align_corners)
    prediction = DensePrediction(*(values.numpy() for values in maps))
    check(prediction, logits, size, align_corners)


def test_strips_break_ties_and_report_nan_like_the_kernel():
    logits = torch.zeros(5, 4, 4)
    logits[3] = logits[1] = 2.0
    assert (predict_in_strips(logits, (7, 7), align_corners=True)[0] == 1).all()
    logits[2, 1, 1] = math.nan
    assert predict_in_strips(logits, (7, 7), align_corners=True)[1].isnan().any()
    *_, finite = predict_on_cpu(logits.numpy(), (7, 7), align_corners=True)
    assert not finite
