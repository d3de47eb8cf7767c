"""onnxruntime: the exported graph computes the network, and what is missing is explained."""

import sys
from types import SimpleNamespace

from meta_ood_ros.core.backends import BackendDeviceError, BackendError, load_backend, self_check
from meta_ood_ros.core.backends.onnx import CUDA_PROVIDER, MAX_SIZES, OnnxBackend
from meta_ood_ros.core.backends.onnx_export import to_onnx
from meta_ood_ros.core.networks import build_network
import pytest
import torch
from torch import nn

pytest.importorskip('onnxruntime')


@pytest.mark.parametrize(
    ('name', 'arguments', 'size'),
    [
        # pooling windows 2 : 1 and 3 : 2, then odd sides: averaging matrices
        ('espnet_v2', {'scale': 0.5}, (96, 128)),
        ('espnet_v2', {'scale': 0.5}, (33, 130)),
        ('deeplabv3plus_mobilenet_v2', {'width': 0.35, 'aspp_channels': 16}, (64, 96)),
        # even and odd sides: padding after the image only, and around it
        ('deeplabv3plus_mobilenet_edgetpu', {}, (64, 96)),
        ('deeplabv3plus_mobilenet_edgetpu', {'decoder_channels': 8, 'is_centred': True}, (65, 98)),
        ('efficientvit_seg_b0', {}, (64, 96)),
        ('efficientvit_seg_b0', {}, (65, 98)),
        (
            'deeplabv3plus_mobilenet_edgetpu',
            {'decoder_channels': 8, 'outlier_channels': 8},
            (64, 96),
        ),
        ('efficientvit_seg_b0', {'outlier_channels': 8}, (65, 98)),
        pytest.param('dual_gcn_resnet50', {}, (32, 48), marks=pytest.mark.slow),
    ],
)
def test_graph_computes_the_network(name, arguments, size):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = build_network(name, num_classes=5, **arguments)
        for conv in network.modules():
            if isinstance(conv, nn.Conv2d) and not conv.weight.any():  # a new decoder adds nothing
                nn.init.normal_(conv.weight, std=0.1)
        network(torch.rand(2, 3, 64, 64))  # train mode: running statistics leave 0 and 1
        x = torch.randn(2, 3, *size)
    network.eval()
    backend = load_backend('onnx', network, device='cpu')
    with torch.inference_mode():
        expected = network(x)
    logits = backend(x)
    assert logits.dtype == torch.float32
    assert logits.shape == expected.shape
    assert (logits - expected).abs().max() <= 1e-4 * (expected.max() - expected.min())
    assert self_check(backend, network, x).equal_classes > 0.99


def test_each_size_has_its_graph_and_old_ones_are_dropped(small_network):
    backend = load_backend('onnx', small_network, device='cpu')
    for i in range(1, MAX_SIZES + 2):
        x = torch.full((1, 3, 16, 16 * i), 0.5 * i)
        expected = small_network(x)
        assert (backend(x) - expected).abs().max() <= 1e-4 * expected.std()
    assert len(backend._sessions) == MAX_SIZES
    assert (1, 3, 16, 16) not in backend._sessions


def test_prepare_exports_beforehand(small_network, tiny_image, monkeypatch):
    backend = load_backend('onnx', small_network, device='cpu')
    backend.prepare((48, 64))
    monkeypatch.setattr('meta_ood_ros.core.backends.onnx.to_onnx', None)  # a second export fails
    assert backend(tiny_image).shape == (1, 5, 24, 32)


def test_network_and_image_are_left_alone(small_network, tiny_image):
    before = {key: value.clone() for key, value in small_network.state_dict().items()}
    image = tiny_image.clone()
    small_network.train()
    try:
        load_backend('onnx', small_network, device='cpu')(tiny_image)
        assert small_network.training
    finally:
        small_network.eval()
    after = small_network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.equal(image, tiny_image)


def test_results_do_not_share_memory(small_network, tiny_image):
    backend = load_backend('onnx', small_network, device='cpu')
    first = backend(tiny_image)
    kept = first.clone()
    backend(-tiny_image)
    assert torch.equal(first, kept)


def test_graph_is_small_and_has_no_prelu(small_network):
    onnx = pytest.importorskip('onnx')
    graph = onnx.load_from_string(to_onnx(small_network, (1, 3, 48, 64))).graph
    operators = {node.op_type for node in graph.node}
    assert 'PRelu' not in operators
    assert 'Conv' in operators
    weights = sum(parameter.numel() for parameter in small_network.parameters())
    assert sum(len(one.raw_data) for one in graph.initializer) < 1.5 * 4 * weights


def test_train_mode_cannot_be_exported(small_network):
    small_network.train()
    try:
        with pytest.raises(ValueError, match=r'must be in eval mode, got train mode'):
            to_onnx(small_network, (1, 3, 32, 32))
    finally:
        small_network.eval()


def test_other_precisions_are_refused_with_the_reason(small_network):
    with pytest.raises(BackendError, match=r'onnx must be fp32, got int8: quantised .* half the'):
        load_backend('onnx', small_network, device='cpu', precision='int8')
    match = r'onnx must be fp32, got bf16: onnxruntime has no convolutions in bf16 on a CPU\. Set'
    with pytest.raises(BackendError, match=match):
        load_backend('onnx', small_network, device='cpu', precision='bf16')
    with pytest.raises(BackendError, match=r'onnx must be fp32, got fp16\. Set precision to auto'):
        load_backend('onnx', small_network, device='cpu', precision='fp16')


def test_missing_package_is_named(small_network, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    match = r'onnx needs the package onnxruntime, which is not installed\. Run: pip install onnx'
    with pytest.raises(BackendError, match=match):
        load_backend('onnx', small_network, device='cpu')


def test_gpu_needs_the_other_package(small_network):
    match = r'onnx on cuda:0 needs CUDAExecutionProvider, but .*Run: pip install onnxruntime-gpu'
    with pytest.raises(BackendError, match=match):
        OnnxBackend(small_network, device=torch.device('cuda', 0), precision='fp32')


def test_session_that_falls_to_the_cpu_is_refused(small_network, tiny_image, monkeypatch):
    # As an onnxruntime-gpu does whose CUDA libraries are missing.
    monkeypatch.setattr('meta_ood_ros.core.backends.onnx.find_provider', lambda _: CUDA_PROVIDER)
    backend = OnnxBackend(small_network, device=torch.device('cuda', 0), precision='fp32')
    match = r'on cuda:0 must run in CUDAExecutionProvider, but onnxruntime took CPUExecutionProv'
    with (
        pytest.warns(UserWarning, match='not in available provider names'),
        pytest.raises(BackendDeviceError, match=match),
    ):
        backend(tiny_image)


def test_session_is_made_on_the_gpu_asked_for(small_network, tiny_image, monkeypatch):
    import onnxruntime

    asked = []

    def make(content, options, *, providers):
        asked.extend(providers)
        return SimpleNamespace(
            get_providers=lambda: [CUDA_PROVIDER],
            run=lambda *_: [torch.zeros(1, 5, 24, 32).numpy()],
        )

    monkeypatch.setattr('meta_ood_ros.core.backends.onnx.find_provider', lambda _: CUDA_PROVIDER)
    monkeypatch.setattr(onnxruntime, 'InferenceSession', make)
    backend = OnnxBackend(small_network, device=torch.device('cuda', 3), precision='fp32')
    backend._make_session(b'graph')
    assert asked == [(CUDA_PROVIDER, {'device_id': 3}), 'CPUExecutionProvider']


def test_package_that_writes_the_graph_is_named(small_network, tiny_image, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(BackendError, match=r'package onnx, which is not .*Run: pip install onnx$'):
        load_backend('onnx', small_network, device='cpu')(tiny_image)
