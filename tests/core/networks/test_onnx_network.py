"""Networks of the user's own: what an ONNX file must offer, and the sentence when it does not."""

import subprocess
import sys
import time

from meta_ood_ros.core.networks.onnx_network import make_session, OnnxNetwork
import numpy as np
import pytest
import torch

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

FLOAT, DOUBLE = 1, 11


def _model(classes: int = 4, image=('n', 3, 'h', 'w'), last: str = 'Identity') -> bytes:
    """Return a graph with logits[c] = c times the sum over RGB, at every second pixel."""
    weight = np.repeat(np.arange(classes, dtype=np.float32), 3).reshape(classes, 3, 1, 1)
    nodes = [
        onnx.helper.make_node('Conv', ['image', 'weight'], ['scores'], strides=[2, 2]),
        onnx.helper.make_node(last, ['scores'], ['logits']),
    ]
    constants = [onnx.numpy_helper.from_array(weight, 'weight')]
    return _to_bytes(nodes, {'image': (FLOAT, image)}, constants)


def _to_bytes(nodes, inputs, constants=()) -> bytes:
    helper = onnx.helper
    graph = helper.make_graph(
        nodes,
        'network',
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info('logits', next(iter(inputs.values()))[0], None)],
        list(constants),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    return model.SerializeToString()


def test_logits_are_those_of_the_graph():
    network = OnnxNetwork(_model(), num_classes=4, stride=2, align_corners=True)
    assert (network.stride, network.align_corners, network.num_classes) == (2, True, 4)
    assert list(network.parameters()) == []
    x = torch.arange(2 * 3 * 4 * 6, dtype=torch.float32).reshape(2, 3, 4, 6)
    logits = network(x)
    classes = torch.arange(4.0).view(1, 4, 1, 1)
    assert torch.equal(logits, classes * x.sum(1, keepdim=True)[:, :, ::2, ::2])


def test_other_floats_and_strides_are_taken():
    network = OnnxNetwork(_model(), num_classes=4, stride=2)
    x = torch.rand(1, 3, 4, 6)
    expected = network(x)
    assert torch.equal(network(x.double()), expected)
    assert torch.equal(network(x.transpose(2, 3).contiguous().transpose(2, 3)), expected)
    assert torch.equal(network(x.requires_grad_()), expected)


def test_other_class_count_is_refused():
    match = r'of shape \(1, 19, h, w\), one for each of the 19 classes, got \(1, 4, 64, 64\)'
    with pytest.raises(ValueError, match=match):
        OnnxNetwork(_model(classes=4), num_classes=19)


def test_image_classifier_is_refused():
    with pytest.raises(ValueError, match=r'must give logits of shape .* got \(1, 16384\)\. Name'):
        OnnxNetwork(_model(last='Flatten'), num_classes=4)


IMAGE = ('n', 3, 'h', 'w')


@pytest.mark.parametrize(
    ('inputs', 'found'),
    [
        ({'image': (FLOAT, IMAGE), 'more': (FLOAT, IMAGE)}, 'image tensor.*, more tensor'),
        ({'image': (FLOAT, ('n', 1, 'h', 'w'))}, "image tensor.*'n', 1, 'h', 'w'"),
        ({'image': (FLOAT, ('h', 'w'))}, r"image tensor\(float\) \['h', 'w'\]"),
        ({'image': (DOUBLE, IMAGE)}, r'image tensor\(double\)'),
    ],
)
def test_other_inputs_are_refused(inputs, found):
    content = _to_bytes([onnx.helper.make_node('Identity', ['image'], ['logits'])], inputs)
    match = r'must have one input, a float32 image of shape \(N, 3, h0, w0\), got ' + found
    with pytest.raises(ValueError, match=match):
        OnnxNetwork(content, num_classes=4)


def test_fixed_size_is_tried_at_that_size_and_kept():
    network = OnnxNetwork(_model(image=(1, 3, 8, 12)), num_classes=4, stride=4)
    assert network(torch.zeros(1, 3, 8, 12)).shape == (1, 4, 4, 6)
    match = (
        r'must take an image of shape \(1, 3, 16, 12\), but onnxruntime says: .* Export it with'
    )
    with pytest.raises(ValueError, match=match):
        network(torch.zeros(1, 3, 16, 12))


@pytest.mark.parametrize('content', [b'', b'no graph', _model()[:100]])
def test_damaged_file_is_refused(content):
    with pytest.raises(
        ValueError, match=r'must be one self-contained \.onnx file, (but onn|got \d+ bytes that)'
    ):
        OnnxNetwork(content, num_classes=4)


def test_weights_outside_the_file_are_refused(tmp_path, monkeypatch):
    """A bundle is one file; a path inside it must not make us read another."""
    monkeypatch.chdir(tmp_path)
    model = onnx.load_from_string(_model())
    onnx.save(
        model,
        tmp_path / 'network.onnx',
        save_as_external_data=True,
        location='secret.bin',
        size_threshold=0,
    )
    content = (tmp_path / 'network.onnx').read_bytes()
    (tmp_path / 'secret.bin').rename(tmp_path / 'elsewhere.bin')
    with pytest.raises(ValueError, match='one self-contained'):
        OnnxNetwork(content, num_classes=4)


def _loop(operator: str = 'Loop', where: str = 'graph') -> bytes:
    """Return a graph that runs for ever, the loop in the graph, a branch or a function."""
    helper, info = onnx.helper, onnx.helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node('Identity', ['go_on'], ['still']),
            helper.make_node('Identity', ['x'], ['y']),
        ],
        'body',
        [info('i', 7, []), info('go_on', 9, []), info('x', FLOAT, None)],
        [info('still', 9, []), info('y', FLOAT, None)],
    )
    true = onnx.numpy_helper.from_array(np.array(True), 'true')
    count = onnx.numpy_helper.from_array(np.array(2**62), 'count')
    nodes = [helper.make_node(operator, ['count', 'true', 'image'], ['logits'], body=body)]
    if where == 'branch':
        branch = helper.make_graph(nodes, 'branch', [], [info('logits', FLOAT, None)])
        nodes = [
            helper.make_node('If', ['true'], ['logits'], then_branch=branch, else_branch=branch)
        ]
    content = _to_bytes(nodes, {'image': (FLOAT, IMAGE)}, [true, count])
    if where != 'function':
        return content
    model = onnx.load_from_string(_model())
    opset = [helper.make_opsetid('', 17)]
    model.functions.append(helper.make_function('own', 'Own', ['a'], ['logits'], nodes, opset))
    return model.SerializeToString()


@pytest.mark.parametrize('where', ['graph', 'branch', 'function'])
@pytest.mark.parametrize('operator', ['Loop', 'Scan', 'SequenceMap'])
def test_what_may_run_for_ever_is_refused_before_it_runs(operator, where):
    match = f'must have no operator that may run for ever, got {operator}. Export it without'
    with pytest.raises(ValueError, match=match):
        OnnxNetwork(_loop(operator, where), num_classes=3)


def test_a_trial_that_does_not_end_is_ended(monkeypatch):
    monkeypatch.setattr('meta_ood_ros.core.networks.onnx_network.check_onnx', lambda content: None)
    monkeypatch.setattr('meta_ood_ros.core.networks.onnx_network.LONGEST_TRIAL', 0.3)
    begin = time.monotonic()
    with pytest.raises(ValueError, match='give its logits within 0.3 s .* 128 x 128 px, got none'):
        OnnxNetwork(_loop(), num_classes=3)
    assert time.monotonic() - begin < 10


def test_sigterm_ends_a_trial_that_does_not():
    program = """
import sys, signal
from meta_ood_ros.core.networks import onnx_network
onnx_network.check_onnx = lambda content: None
signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
signal.setitimer(signal.ITIMER_REAL, 0.5)
signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGTERM))
onnx_network.OnnxNetwork(sys.stdin.buffer.read(), num_classes=3)
"""
    done = subprocess.run([sys.executable, '-c', program], input=_loop(), timeout=50)
    assert done.returncode == 9


@pytest.mark.parametrize('where', ['initializer', 'attribute', 'branch'])
def test_weights_that_point_elsewhere_are_refused_wherever_they_stand(where):
    model = onnx.load_from_string(_loop('If', 'graph') if where == 'branch' else _model())
    tensor = onnx.numpy_helper.from_array(np.zeros(3, np.float32), 'far')
    onnx.external_data_helper.set_external_data(tensor, '../secret.bin')
    tensor.data_location = 1
    if where == 'initializer':
        model.graph.initializer.append(tensor)
    elif where == 'attribute':
        model.graph.node.append(onnx.helper.make_node('Constant', [], ['far'], value=tensor))
    else:
        model.graph.node[0].attribute[0].g.initializer.append(tensor)
    match = "got weights that lie in '../secret.bin'. Save it in one: onnx.save"
    with pytest.raises(ValueError, match=match):
        OnnxNetwork(model.SerializeToString(), num_classes=4)


def test_weights_that_are_no_numbers_are_refused():
    model = onnx.load_from_string(_model())
    weight = np.full((4, 3, 1, 1), np.nan, np.float32)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, 'weight'))
    with pytest.raises(ValueError, match='must give finite logits for a grey image, got NaN or'):
        OnnxNetwork(model.SerializeToString(), num_classes=4)


def test_the_cases_at_hand(cases_dir):
    with pytest.raises(ValueError, match="weights that lie in 'own.onnx.data'"):
        OnnxNetwork((cases_dir / 'onnx/external/own.onnx').read_bytes(), num_classes=3)
    OnnxNetwork((cases_dir / 'onnx/good.onnx').read_bytes(), num_classes=3)


def test_impossible_stride_is_refused():
    with pytest.raises(ValueError, match=r'stride must lie in \[1, 512\], got 0\. 32 suits'):
        OnnxNetwork(_model(), num_classes=4, stride=0)


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'onnxruntime', None)
    with pytest.raises(ValueError, match=r'need onnxruntime, which is not installed\. Run: pip'):
        make_session(_model())


@pytest.mark.parametrize(('count', 'fixed'), [(1, True), ('n', False), (None, False)])
def test_whether_the_graph_takes_several_images_at_once(count, fixed):
    network = OnnxNetwork(_model(image=(count, 3, 8, 12)), num_classes=4, stride=4)
    assert network.has_fixed_batch is fixed
