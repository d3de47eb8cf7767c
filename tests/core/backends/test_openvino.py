"""OpenVINO: the compiled graph computes the network, and what is missing is explained."""

from concurrent.futures import ThreadPoolExecutor
import io
import signal
import subprocess
import sys
import warnings

from meta_ood_ros.core.backends import BackendDeviceError, BackendError, load_backend, self_check
from meta_ood_ros.core.backends import openvino as backend_module
from meta_ood_ros.core.networks import build_network
from meta_ood_ros.core.networks.onnx_network import OnnxNetwork
import pytest
import torch
from torch import nn

openvino = pytest.importorskip('openvino')


def _load(network, folder, precision='fp32'):
    return load_backend(
        'openvino', network, device='cpu', precision=precision, engine_cache=str(folder)
    )


def _abilities() -> list[str]:
    return openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')


@pytest.mark.parametrize(
    ('name', 'arguments', 'shape'),
    [
        ('espnet_v2', {'scale': 0.5}, (1, 96, 128)),
        ('espnet_v2', {'scale': 0.5}, (2, 33, 130)),
        ('deeplabv3plus_mobilenet_v2', {'width': 0.35, 'aspp_channels': 16}, (1, 64, 96)),
        ('deeplabv3plus_mobilenet_edgetpu', {}, (1, 64, 96)),
        (
            'deeplabv3plus_mobilenet_edgetpu',
            {'decoder_channels': 8, 'is_centred': True},
            (3, 65, 98),
        ),
        ('efficientvit_seg_b0', {}, (1, 64, 96)),
        ('efficientvit_seg_b0', {}, (2, 65, 98)),
        ('deeplabv3plus_mobilenet_edgetpu', {'outlier_channels': 8}, (1, 64, 96)),
        ('efficientvit_seg_b0', {'outlier_channels': 8}, (2, 65, 98)),
        pytest.param('dual_gcn_resnet50', {}, (1, 32, 48), marks=pytest.mark.slow),
        pytest.param('deeplabv3plus_wide_resnet38', {}, (1, 32, 48), marks=pytest.mark.slow),
    ],
)
def test_engine_computes_the_network(name, arguments, shape, tmp_path):
    batch, *size = shape
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = build_network(name, num_classes=5, **arguments)
        for conv in network.modules():
            if isinstance(conv, nn.Conv2d) and not conv.weight.any():  # a new decoder adds nothing
                nn.init.normal_(conv.weight, std=0.1)
        network(torch.rand(2, 3, 64, 64))  # train mode: running statistics leave 0 and 1
        x = torch.randn(batch, 3, *size)
    network.eval()
    backend = _load(network, tmp_path)
    with torch.inference_mode():
        expected = network(x)
    logits = backend(x)
    assert (logits.dtype, logits.shape) == (torch.float32, expected.shape)
    assert (logits - expected).abs().max() <= 1e-3 * (expected.max() - expected.min())
    assert self_check(backend, network, x).equal_classes > 0.99
    # and so does what was kept of it
    assert torch.equal(_load(network, tmp_path)(x), logits)


def test_bf16_rounds_and_fp32_does_not(tiny_network, tiny_image, tmp_path):
    expected = tiny_network(tiny_image)
    exact = _load(tiny_network, tmp_path)(tiny_image)
    assert (exact - expected).abs().max() <= 1e-4 * expected.std()
    if 'BF16' not in _abilities():
        with pytest.raises(BackendError, match=r'precision bf16 .* needs a processor that .*FP32'):
            _load(tiny_network, tmp_path, 'bf16')
        return
    coarse = _load(tiny_network, tmp_path, 'bf16')(tiny_image)
    assert coarse.dtype == torch.float32
    assert 1e-4 < (coarse - expected).abs().max() / expected.std() < 0.1


def test_precisions_of_other_devices_are_refused(small_network, tmp_path):
    with pytest.raises(BackendError, match=r'must be fp32, bf16 or fp16, got int8: quantised ne'):
        _load(small_network, tmp_path, 'int8')
    with pytest.raises(BackendError, match=r'openvino on the CPU must be fp32 or bf16, got fp16'):
        _load(small_network, tmp_path, 'fp16')

    class OldCore:
        def get_property(self, place, name):
            return 'Old processor' if name == 'FULL_DEVICE_NAME' else ['INT8', 'FP32']

    match = (
        r'bf16 .* needs a processor that computes with it, got Old processor, which has FP32, I'
    )
    with pytest.raises(BackendError, match=match):
        backend_module.check_precision(OldCore(), 'CPU', 'bf16')


def test_prepare_builds_once_and_the_next_start_only_loads(
    small_network, tiny_image, tmp_path, monkeypatch
):
    first = _load(small_network, tmp_path)
    first.prepare((48, 64))
    assert [path.suffix for path in tmp_path.iterdir()] == ['.engine']
    monkeypatch.setattr(backend_module, 'to_onnx', None)  # a second export fails
    second = _load(small_network, tmp_path)
    second.prepare((48, 64))
    assert torch.equal(second(tiny_image), first(tiny_image))


@pytest.mark.parametrize('content', [b'', b'from another world'])
def test_engine_that_cannot_be_loaded_is_made_again(
    small_network, tiny_image, tmp_path, monkeypatch, caplog, content
):
    monkeypatch.setattr(backend_module.EngineCache, 'load', lambda self, key: content)
    expected = small_network(tiny_image)
    logits = _load(small_network, tmp_path)(tiny_image)
    assert (logits - expected).abs().max() <= 1e-4 * expected.std()
    assert 'cannot be loaded' in caplog.text


def test_other_version_builds_again(small_network, tmp_path, monkeypatch, caplog):
    _load(small_network, tmp_path).prepare((16, 16))
    monkeypatch.setattr(openvino, '__version__', '2099.1')
    _load(small_network, tmp_path).prepare((16, 16))
    assert 'was made for other version' in caplog.text


def test_each_size_has_its_engine_and_old_ones_are_dropped(small_network, tmp_path):
    backend = _load(small_network, tmp_path)
    for i in range(1, backend_module.MAX_SIZES + 2):
        x = torch.full((1, 3, 16, 16 * i), 0.5 * i)
        expected = small_network(x)
        assert (backend(x) - expected).abs().max() <= 1e-4 * expected.std()
    assert len(backend._requests) == backend_module.MAX_SIZES
    assert (1, 3, 16, 16) not in backend._requests


def test_threads_and_precision_are_those_asked_for(small_network, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(2):  # built, then loaded
            engine = _load(small_network, tmp_path)._engine((1, 3, 16, 16))
            assert engine.get_property('INFERENCE_NUM_THREADS') == 1
            assert engine.get_property('INFERENCE_PRECISION_HINT') == openvino.Type.f32
    finally:
        torch.set_num_threads(before)


def test_results_do_not_share_memory(small_network, tiny_image, tmp_path):
    backend = _load(small_network, tmp_path)
    image = tiny_image.clone()
    first = backend(image)
    kept = first.clone()
    backend(-image)
    assert torch.equal(first, kept)
    assert torch.equal(image, tiny_image)
    torch.testing.assert_close(backend(image.double()), kept)


def test_threads_get_their_own_answers(small_network, tmp_path):
    backend = _load(small_network, tmp_path)
    images = [torch.full((1, 3, 48, 64), 0.1 * i) for i in range(20)]
    expected = [backend(image) for image in images]
    with ThreadPoolExecutor(4) as threads:
        for mine, one in zip(threads.map(backend, images), expected, strict=True):
            assert torch.equal(mine, one)


def test_network_is_left_alone(small_network, tiny_image, tmp_path):
    before = {key: value.clone() for key, value in small_network.state_dict().items()}
    small_network.train()
    try:
        _load(small_network, tmp_path)(tiny_image)
        assert small_network.training
    finally:
        small_network.eval()
    after = small_network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_network_from_a_file_is_run_as_it_is(onnx_file, small_network, tiny_image, tmp_path):
    network = OnnxNetwork(onnx_file, num_classes=5, stride=2)
    expected = small_network(tiny_image)
    assert (_load(network, tmp_path)(tiny_image) - expected).abs().max() <= 1e-4 * expected.std()


def test_sides_that_a_file_leaves_open_are_taken(small_network, tiny_image, tmp_path):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # that this exporter is the older one
        torch.onnx.export(
            small_network,
            (tiny_image,),
            file,
            dynamo=False,
            input_names=['x'],
            dynamic_axes={'x': {0: 'n', 2: 'h', 3: 'w'}},
        )
    backend = _load(OnnxNetwork(file.getvalue(), num_classes=5, stride=2), tmp_path)
    for shape in ((1, 3, 48, 64), (2, 3, 34, 50)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        expected = small_network(x)
        assert (backend(x) - expected).abs().max() <= 1e-4 * expected.std()


def test_graph_that_cannot_be_built_is_explained(onnx_file, tmp_path, small_network):
    network = OnnxNetwork(onnx_file, num_classes=5, stride=2)
    network.content = b'no graph at all'
    match = r'OpenVINO .* cannot build the network for \(1, 3, 16, 16\): .*Set backend to auto'
    with pytest.raises(BackendError, match=match):
        _load(network, tmp_path).prepare((16, 16))


def test_devices_that_are_not_there_are_refused(small_network):
    for name in ('cuda:0', 'xpu:7'):
        match = f'must run on a CPU or an Intel GPU that it finds, got {name}; it finds .*CPU'
        with pytest.raises(BackendDeviceError, match=match):
            backend_module.OpenVinoBackend(
                small_network, device=torch.device(name), precision='fp32'
            )


def test_intel_gpu_is_named_as_openvino_names_it():
    class Core:
        available_devices = ('CPU', 'GPU')

    assert backend_module.find_place(Core(), torch.device('xpu')) == 'GPU.0'
    Core.available_devices = ('CPU', 'GPU.0', 'GPU.1')
    assert backend_module.find_place(Core(), torch.device('xpu', 1)) == 'GPU.1'


BUILDING = """
import sys, torch
from meta_ood_ros.core.backends import load_backend, openvino
from meta_ood_ros.core.networks import build_network

export = openvino.to_onnx
def announce(network, shape):
    content = export(network, shape)
    print('compiling', flush=True)
    return content
openvino.to_onnx = announce
torch.manual_seed(0)
network = build_network('espnet_v2', num_classes=5).eval()
backend = load_backend('openvino', network, device='cpu', engine_cache=sys.argv[1])
backend.prepare((256, 256))
print('kept', flush=True)
"""


def test_terminated_while_building_leaves_nothing_half(tmp_path):
    words = [sys.executable, '-c', BUILDING, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == 'compiling\n'
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == ''
    assert process.returncode == -signal.SIGTERM
    assert list(tmp_path.glob('*.engine')) == []
    again = subprocess.run(words, stdout=subprocess.PIPE, text=True, timeout=100)
    assert again.stdout == 'compiling\nkept\n'
    assert len(list(tmp_path.glob('*.engine'))) == 1
