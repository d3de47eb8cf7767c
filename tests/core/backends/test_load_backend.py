"""The one door to all backends, and the eager one behind it."""

from meta_ood_ros.core.backends import BackendError, load_backend
from meta_ood_ros.core.networks.onnx_network import OnnxNetwork
import pytest
import torch


def test_auto_is_eager_float32_on_a_cpu(tiny_network, tiny_image):
    backend = load_backend('auto', tiny_network, device='cpu')
    assert (backend.name, backend.precision) == ('eager', 'fp32')
    assert backend.device == torch.device('cpu')
    expected = tiny_network(tiny_image)
    logits = backend(tiny_image)
    assert logits.dtype == torch.float32
    assert not logits.requires_grad
    assert (logits - expected).abs().max() <= 1e-5 * expected.std()


def test_bfloat16_gives_float32_logits_close_to_the_reference(tiny_network, tiny_image):
    expected = tiny_network(tiny_image)
    logits = load_backend('eager', tiny_network, device='cpu', precision='bf16')(tiny_image)
    assert logits.dtype == torch.float32
    error = (logits - expected).abs().max() / expected.std()
    # 8 bits of mantissa: rounding is felt, but no more than that (0.013 measured)
    assert 1e-4 < error < 0.1


def test_network_is_left_alone(tiny_network, tiny_image):
    before = {key: value.clone() for key, value in tiny_network.state_dict().items()}
    image = tiny_image.clone()
    generator = torch.get_rng_state()
    backend = load_backend('eager', tiny_network, device='cpu', precision='bf16')
    backend.prepare((32, 32))
    backend(tiny_image)
    assert torch.equal(image, tiny_image)
    assert torch.equal(torch.get_rng_state(), generator)
    after = tiny_network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not torch.is_autocast_enabled('cpu')
    assert not torch.is_inference_mode_enabled()


def test_train_mode_is_left_on_but_not_used(tiny_network, tiny_image):
    expected = tiny_network(tiny_image)
    tiny_network.train()
    try:
        logits = load_backend('eager', tiny_network, device='cpu')(tiny_image)
        assert tiny_network.training
    finally:
        tiny_network.eval()
    assert (logits - expected).abs().max() <= 1e-5 * expected.std()


def test_double_and_strided_images_are_taken(tiny_network, tiny_image):
    backend = load_backend('eager', tiny_network, device='cpu')
    expected = backend(tiny_image)
    torch.testing.assert_close(backend(tiny_image.double()), expected)
    mirrored = tiny_image.flip(3).transpose(2, 3).contiguous().transpose(2, 3).flip(3)
    torch.testing.assert_close(backend(mirrored), expected)


@pytest.mark.parametrize(
    'x',
    [
        torch.zeros(3, 32, 32),
        torch.zeros(1, 4, 32, 32),
        torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
        torch.zeros(1, 3, 0, 32),
        torch.zeros(0, 3, 32, 32),
    ],
)
def test_other_inputs_are_refused(tiny_network, x):
    match = r'must have the shape \(N, 3, h0, w0\) and a floating point type, got \(.*to_network'
    with pytest.raises(ValueError, match=match):
        load_backend('eager', tiny_network, device='cpu')(x)


def test_unknown_names_are_refused(tiny_network):
    match = r"backend must be one of auto, eager, compile, onnx, openvino, tensorrt, got 'tflite'"
    with pytest.raises(BackendError, match=match):
        load_backend('tflite', tiny_network)
    match = r"precision must be one of auto, fp32, fp16, bf16, int8, got 'fp8'"
    with pytest.raises(BackendError, match=match):
        load_backend('eager', tiny_network, precision='fp8')
    with pytest.raises(
        BackendError, match=r"device must be auto, cpu, cuda, cuda:N or xpu:N, got 'tpu'"
    ):
        load_backend('eager', tiny_network, device='tpu')


@pytest.mark.parametrize('name', ['eager', 'compile'])
def test_pytorch_cannot_run_a_file(onnx_file, name):
    network = OnnxNetwork(onnx_file, num_classes=5, stride=2)
    match = (
        f'ONNX file must be auto, onnx, openvino or tensorrt, got {name}: PyTorch cannot run it'
    )
    with pytest.raises(BackendError, match=match):
        load_backend(name, network, device='cpu')


def test_auto_runs_a_file_with_onnxruntime(onnx_file, small_network, tiny_image):
    network = OnnxNetwork(onnx_file, num_classes=5, stride=2)
    backend = load_backend('auto', network, device='cpu')
    assert (backend.name, backend.precision) == ('onnx', 'fp32')
    expected = small_network(tiny_image)
    assert (backend(tiny_image) - expected).abs().max() <= 1e-4 * expected.std()


@pytest.mark.parametrize('name', ['eager', 'compile', 'onnx', 'tensorrt'])
def test_intel_gpus_are_left_to_openvino(small_network, name):
    match = f'backend on xpu:1 must be openvino, got {name}: no other one runs on an Intel GPU'
    with pytest.raises(BackendError, match=match):
        load_backend(name, small_network, device='xpu:1')


def test_each_name_gives_its_backend(small_network):
    for name in ('eager', 'compile', 'onnx'):
        backend = load_backend(name, small_network, device='cpu')
        assert (backend.name, backend.precision) == (name, 'fp32')


def test_precisions_that_pytorch_cannot_run_are_refused(tiny_network):
    with pytest.raises(BackendError, match=r'must be fp32, fp16 or bf16, got int8: .*choose fp32'):
        load_backend('eager', tiny_network, device='cpu', precision='int8')
    with pytest.raises(BackendError, match=r'on the CPU must be fp32 or bf16, got fp16: CPUs'):
        load_backend('eager', tiny_network, device='cpu', precision='fp16')
