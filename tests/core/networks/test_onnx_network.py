"""Networks of the user's own: what an ONNX file must offer, and the sentence when it does not."""

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
    with pytest.raises(ValueError, match=r'one self-contained \.onnx file, but onnxruntime says'):
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


def test_impossible_stride_is_refused():
    with pytest.raises(ValueError, match=r'stride must be at least 1, got 0\. 32 suits'):
        OnnxNetwork(_model(), num_classes=4, stride=0)


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'onnxruntime', None)
    with pytest.raises(ValueError, match=r'need onnxruntime, which is not installed\. Run: pip'):
        make_session(_model())


@pytest.mark.parametrize(('count', 'fixed'), [(1, True), ('n', False), (None, False)])
def test_whether_the_graph_takes_several_images_at_once(count, fixed):
    network = OnnxNetwork(_model(image=(count, 3, 8, 12)), num_classes=4, stride=4)
    assert network.has_fixed_batch is fixed
