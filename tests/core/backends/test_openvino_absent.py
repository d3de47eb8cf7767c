"""The OpenVINO backend with a stand-in for the package: what it is asked, how it may fail."""

import sys
from types import ModuleType, SimpleNamespace

from meta_ood_ros.core.backends import BackendError, load_backend
from meta_ood_ros.core.networks.onnx_network import make_session
import pytest
import torch

pytest.importorskip('onnxruntime')


class StandIn:
    """What the stand-in was asked to do; it runs the graph that it is given in onnxruntime."""

    def __init__(self) -> None:
        self.available_devices = ['CPU', 'GPU']
        self.configs: list[tuple[str, dict]] = []
        self.imports = 0
        self.fails_to_run = False

    def get_property(self, place, name):
        return 'Stand-in' if name == 'FULL_DEVICE_NAME' else ['FP32', 'BF16', 'FP16']

    def read_model(self, content):
        return SimpleNamespace(content=content, inputs=['image'], reshape=lambda sides: None)

    def compile_model(self, model, place, config):
        self.configs.append((place, config))
        return self._engine(model.content)

    def import_model(self, stream, place, config):
        self.imports += 1
        self.configs.append((place, config))
        return self._engine(stream.read())

    def _engine(self, content):
        session = make_session(content)

        def infer(images, share_inputs):
            if self.fails_to_run:
                raise RuntimeError('out of memory.\nand more')
            return session.run(None, {'image': images[0]})

        return SimpleNamespace(
            export_model=lambda stream: stream.write(content),
            create_infer_request=lambda: SimpleNamespace(infer=infer),
        )


@pytest.fixture
def asked(monkeypatch):
    stand_in = StandIn()
    module = ModuleType('openvino')
    module.__version__ = '2026.4'
    module.Core = lambda: stand_in
    monkeypatch.setitem(sys.modules, 'openvino', module)
    return stand_in


@pytest.mark.parametrize(
    ('device', 'precision', 'place', 'hint'),
    [
        ('cpu', 'auto', 'CPU', 'f32'),
        ('cpu', 'bf16', 'CPU', 'bf16'),
        ('xpu', 'auto', 'GPU.0', 'f32'),
        ('xpu', 'fp16', 'GPU.0', 'f16'),
    ],
)
def test_precision_is_always_said(
    asked, small_network, tiny_image, tmp_path, device, precision, place, hint
):
    for imports in (0, 1):
        backend = load_backend(
            'openvino',
            small_network,
            device=device,
            precision=precision,
            engine_cache=str(tmp_path),
        )
        expected = small_network(tiny_image)
        logits = backend(tiny_image)
        assert logits.device == backend.device == torch.device('cpu')
        assert (logits - expected).abs().max() <= 1e-4 * expected.std()
        used, config = asked.configs.pop()
        assert (used, config['INFERENCE_PRECISION_HINT']) == (place, hint)
        assert config.get('INFERENCE_NUM_THREADS') == (
            torch.get_num_threads() if device == 'cpu' else None
        )
        assert asked.imports == imports


def test_auto_takes_openvino_on_an_intel_gpu(asked, small_network, tmp_path):
    backend = load_backend('auto', small_network, device='xpu', engine_cache=str(tmp_path))
    assert (backend.name, backend.precision) == ('openvino', 'fp32')


def test_failure_while_running_is_one_sentence(asked, small_network, tiny_image, tmp_path):
    backend = load_backend('openvino', small_network, device='cpu', engine_cache=str(tmp_path))
    asked.fails_to_run = True
    match = r'could not run the network for \(1, 3, 48, 64\): out of memory\. Set backend to auto'
    with pytest.raises(BackendError, match=match):
        backend(tiny_image)


def test_missing_package_is_named(small_network, monkeypatch):
    monkeypatch.setitem(sys.modules, 'openvino', None)
    match = (
        r'needs the package openvino, which cannot be imported \(.*\)\. Run: pip install openvino'
    )
    with pytest.raises(BackendError, match=match):
        load_backend('openvino', small_network, device='cpu')
