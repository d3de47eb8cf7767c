"""
The TensorRT backend with stand-ins for tensorrt and torch2trt.

The stand-ins take the very graph that TensorRT would be given and run it with onnxruntime, so the
logits are checked, and they count what is built and read.
"""

from pathlib import Path
import sys
from types import ModuleType, SimpleNamespace

from meta_ood_ros.core.backends import BackendError, load_backend, self_check, tensorrt
from meta_ood_ros.core.backends.onnx_export import to_module_name, to_onnx
from meta_ood_ros.core.networks import build_network
from meta_ood_ros.core.networks.onnx_network import make_session, OnnxNetwork
import pytest
import torch

pytest.importorskip('onnxruntime')
onnx = pytest.importorskip('onnx')


class StandIn:
    """What the stand-ins were asked to do, and how they shall fail."""

    def __init__(self) -> None:
        self.builds: list[dict] = []
        self.loads = 0
        self.parse_error = ''
        self.fails_to_build = False
        self.refuses_engines = False
        self.version = '10.3.0'


@pytest.fixture
def trt(monkeypatch):
    asked = StandIn()
    monkeypatch.setitem(sys.modules, 'tensorrt', _tensorrt(asked))
    module = ModuleType('torch2trt')
    module.TRTModule = _TrtModule
    monkeypatch.setitem(sys.modules, 'torch2trt', module)
    monkeypatch.setattr(tensorrt, 'describe_gpu', lambda device: 'Stand-in GPU')
    return asked


def _tensorrt(asked: StandIn) -> ModuleType:
    module = ModuleType('tensorrt')
    module.__version__ = asked.version
    module.NetworkDefinitionCreationFlag = SimpleNamespace(EXPLICIT_BATCH=0)
    module.BuilderFlag = SimpleNamespace(FP16='FP16', OBEY_PRECISION_CONSTRAINTS='OBEY')
    module.LayerType = SimpleNamespace(CONSTANT='Constant', SHAPE='Shape')
    module.float32 = 'float32'
    module.Logger = type('Logger', (), {'ERROR': 0, '__init__': lambda self, level: None})

    class OnnxParser:
        def __init__(self, graph, log):
            self.graph = graph
            self.num_errors = int(bool(asked.parse_error))

        def parse(self, content):
            if not asked.parse_error:
                self.graph.fill(content)
            return not asked.parse_error

        def get_error(self, index):
            return asked.parse_error

    class Builder:
        def __init__(self, log):
            pass

        def create_network(self, flags):
            assert flags == 1
            return _Graph()

        def create_builder_config(self):
            config = SimpleNamespace(flags=[], profiles=[])
            config.set_flag = config.flags.append
            config.add_optimization_profile = config.profiles.append
            return config

        def create_optimization_profile(self):
            profile = SimpleNamespace(shapes={})
            profile.set_shape = lambda name, *shapes: profile.shapes.update({name: shapes})
            return profile

        def build_serialized_network(self, graph, config):
            build = {'flags': config.flags, 'shapes': config.profiles[0].shapes}
            build['wide'] = graph.describe_wide()
            asked.builds.append(build | {'outputs': [one.name for one in graph.outputs]})
            return None if asked.fails_to_build else memoryview(b'plan:' + graph.content)

    class Runtime:
        def __init__(self, log):
            pass

        def deserialize_cuda_engine(self, content):
            asked.loads += 1
            refused = asked.refuses_engines or not content.startswith(b'plan:')
            return None if refused else make_session(content[5:])

    module.OnnxParser, module.Builder, module.Runtime = OnnxParser, Builder, Runtime
    return module


class _Layer:
    """A node as the parser takes it over, with one output."""

    num_outputs = 1

    def __init__(self, node):
        self.name, self.type = node.name, node.op_type
        self.precision = None
        self.output_types = []

    def get_output(self, index):
        return SimpleNamespace(dtype='int64' if self.type == 'Shape' else 'float32')

    def set_output_type(self, index, kind):
        self.output_types.append(kind)


class _Graph:
    """What the parser filled."""

    content = b''

    def __init__(self):
        self.outputs = []
        self.layers = []

    def fill(self, content):
        self.content = content
        outputs = make_session(content).get_outputs()
        self.outputs = [SimpleNamespace(name=one.name) for one in outputs]
        self.layers = [_Layer(node) for node in onnx.load_from_string(content).graph.node]

    def describe_wide(self):
        assert all(one.output_types == [one.precision] for one in self.layers if one.precision)
        return {one.name: one.type for one in self.layers if one.precision}

    @property
    def num_layers(self):
        return len(self.layers)

    def get_layer(self, index):
        return self.layers[index]

    @property
    def num_outputs(self):
        return len(self.outputs)

    def get_output(self, index):
        return self.outputs[index]

    def unmark_output(self, output):
        self.outputs.remove(output)


class _TrtModule:
    context: object = 'memory enough'

    def __init__(self, engine, input_names, output_names):
        self.engine, self.inputs, self.outputs = engine, input_names, output_names

    def __call__(self, x):
        assert x.is_contiguous()
        assert x.dtype == torch.float32
        (logits,) = self.engine.run(self.outputs, {self.inputs[0]: x.numpy()})
        return torch.from_numpy(logits)


def _load(network, folder: Path, precision: str = 'fp16'):
    return load_backend(
        'tensorrt', network, device='cpu', precision=precision, engine_cache=str(folder)
    )


def test_logits_are_those_of_the_network(trt, small_network, tiny_image, tmp_path):
    backend = _load(small_network, tmp_path)
    assert (backend.name, backend.precision) == ('tensorrt', 'fp16')
    found = self_check(backend, small_network, tiny_image)
    assert torch.equal(backend(tiny_image.double()), backend(tiny_image))
    assert found.equal_classes > 0.99
    batch = torch.cat([tiny_image, -tiny_image])
    expected = small_network(batch)
    assert (backend(batch) - expected).abs().max() <= 1e-4 * expected.std()
    shapes = [build['shapes']['image'] for build in trt.builds]
    assert shapes == [((1, 3, 48, 64),) * 3, ((2, 3, 48, 64),) * 3]


def test_precision_sets_the_flag(trt, small_network, tmp_path):
    _load(small_network, tmp_path, 'fp16').prepare((16, 16))
    _load(small_network, tmp_path, 'fp32').prepare((16, 16))
    assert [build['flags'] for build in trt.builds] == [['FP16'], []]


def test_linear_attention_is_computed_in_fp32(trt, tmp_path):
    network = build_network('efficientvit_seg_b0', num_classes=5).eval()
    for precision in ('fp16', 'fp32'):
        _load(network, tmp_path, precision).prepare((32, 32))
    half, single = trt.builds
    assert (half['flags'], single['flags']) == (['FP16', 'OBEY'], [])
    assert single['wide'] == {}
    kinds = set(half['wide'].values())
    assert {'MatMul', 'Div', 'Relu', 'Add'} <= kinds
    assert not kinds & {'Conv', 'Constant', 'Shape'}
    nodes = onnx.load_from_string(to_onnx(network, (1, 3, 32, 32))).graph.node
    # two products in each of four attentions, and no other layer multiplies matrices
    products = [node.name for node in nodes if node.op_type == 'MatMul']
    assert len(products) == 8
    assert set(products) <= set(half['wide'])
    places = {name.rpartition('/')[0] for name in half['wide']}
    assert len(places) == 4
    assert all(place.endswith('/context_module/main') for place in places)


def test_nodes_are_of_the_module_that_made_them():
    assert to_module_name('/stages.2/op_list/op_list.1/main/MatMul_1') == 'stages.2.op_list.1.main'
    assert to_module_name('/head/head.0/head.0.1/conv/Conv') == 'head.0.1.conv'
    assert to_module_name('/Add') == ''


def test_precision_that_this_version_does_not_take_is_refused(
    trt, small_network, tmp_path, monkeypatch
):
    monkeypatch.setattr(sys.modules['tensorrt'], '__version__', '11.4')
    monkeypatch.setattr(sys.modules['tensorrt'], 'BuilderFlag', SimpleNamespace())
    _load(small_network, tmp_path, 'fp32').prepare((16, 16))
    with pytest.raises(BackendError, match=r'fp16 .* needs TensorRT 8.6 to 10, got 11.4'):
        _load(small_network, tmp_path, 'fp16').prepare((16, 16))


def test_too_little_memory_to_run_is_said_when_preparing(
    trt, small_network, tmp_path, monkeypatch
):
    monkeypatch.setattr(_TrtModule, 'context', None)
    with pytest.raises(
        BackendError, match=r'too little memory on Stand-in GPU .* \(1, 3, 16, 16\)'
    ):
        _load(small_network, tmp_path).prepare((16, 16))


def test_package_that_does_not_fit_the_other_is_refused(trt, small_network, monkeypatch, tmp_path):
    def lookup(name):
        raise AttributeError("module 'tensorrt' has no attribute 'IInt8Calibrator'")

    monkeypatch.setattr('importlib.import_module', lookup)
    with pytest.raises(BackendError, match='cannot be imported .*IInt8Calibrator'):
        _load(small_network, tmp_path)


def test_prepare_builds_once_and_the_next_start_only_loads(trt, small_network, tmp_path):
    first = _load(small_network, tmp_path)
    first.prepare((16, 16))
    first(torch.zeros(1, 3, 16, 16))
    first(torch.ones(1, 3, 16, 16))
    assert (len(trt.builds), trt.loads) == (1, 1)
    second = _load(small_network, tmp_path)
    second.prepare((16, 16))
    assert (len(trt.builds), trt.loads) == (1, 2)
    x = torch.rand(1, 3, 16, 16)
    assert torch.equal(second(x), first(x))


def test_other_version_builds_again(trt, small_network, tmp_path, monkeypatch, caplog):
    _load(small_network, tmp_path).prepare((16, 16))
    monkeypatch.setattr(sys.modules['tensorrt'], '__version__', '10.4.0')
    _load(small_network, tmp_path).prepare((16, 16))
    assert len(trt.builds) == 2
    assert 'was made for other version' in caplog.text


def test_engine_that_cannot_be_loaded_is_built_again(trt, small_network, tmp_path, monkeypatch):
    monkeypatch.setattr(tensorrt.EngineCache, 'load', lambda self, key: b'from another world')
    _load(small_network, tmp_path).prepare((16, 16))
    assert len(trt.builds) == 1


def test_unwritable_cache_is_warned_about(trt, small_network, tmp_path, caplog):
    (tmp_path / 'file').write_text('')
    backend = _load(small_network, tmp_path / 'file')
    backend.prepare((16, 16))
    assert '-tensorrt-fp16.engine cannot be kept in' in caplog.text
    assert backend(torch.zeros(1, 3, 16, 16)).shape == (1, 5, 8, 8)


def test_network_from_a_file_is_built_as_it_is(
    trt, onnx_file, small_network, tiny_image, tmp_path
):
    network = OnnxNetwork(onnx_file, num_classes=5, stride=2)
    expected = small_network(tiny_image)
    logits = _load(network, tmp_path)(tiny_image)
    assert (logits - expected).abs().max() <= 1e-4 * expected.std()


def test_outputs_beside_the_logits_are_unmarked(trt, small_network, tiny_image, tmp_path):
    model = onnx.load_from_string(to_onnx(small_network, (1, 3, 48, 64)))
    hidden = onnx.helper.make_empty_tensor_value_info(model.graph.node[0].output[0])
    model.graph.output.append(hidden)
    assert len(make_session(model.SerializeToString()).get_outputs()) == 2
    network = OnnxNetwork(model.SerializeToString(), num_classes=5, stride=2)
    _load(network, tmp_path)(tiny_image)
    assert [build['outputs'] for build in trt.builds] == [[network.output_name]]


def test_failures_are_reported_in_one_sentence(trt, small_network, tmp_path):
    trt.parse_error = 'node 3: no importer for Foo'
    with pytest.raises(
        BackendError, match=r'TensorRT 10\.3\.0 cannot read the network: node 3: no'
    ):
        _load(small_network, tmp_path).prepare((16, 16))
    trt.parse_error, trt.fails_to_build = '', True
    match = r'cannot build an engine for \(1, 3, 16, 16\) on Stand-in GPU\. Free memory'
    with pytest.raises(BackendError, match=match):
        _load(small_network, tmp_path).prepare((16, 16))
    trt.fails_to_build, trt.refuses_engines = False, True
    with pytest.raises(BackendError, match=r'cannot load the engine it has just built for \(1, 3'):
        _load(small_network, tmp_path).prepare((16, 16))


def test_cpu_is_refused(small_network):
    match = r'tensorrt needs an NVIDIA GPU, got device cpu\. Set backend to auto'
    with pytest.raises(BackendError, match=match):
        load_backend('tensorrt', small_network, device='cpu')


@pytest.mark.parametrize('name', ['tensorrt', 'torch2trt'])
def test_missing_package_is_named(trt, small_network, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    match = (
        rf'needs the package {name}, which cannot be imported \(.*\)\. Run: pip install .*{name}'
    )
    with pytest.raises(BackendError, match=match):
        load_backend('tensorrt', small_network, device='cpu')


@pytest.mark.parametrize(
    ('precision', 'match'),
    [
        ('int8', r'must be fp32 or fp16, got int8: it needs images to calibrate with'),
        ('bf16', r'must be fp32 or fp16, got bf16\. Set precision to auto'),
    ],
)
def test_other_precisions_are_refused(small_network, precision, match):
    with pytest.raises(BackendError, match=match):
        load_backend('tensorrt', small_network, device='cpu', precision=precision)
