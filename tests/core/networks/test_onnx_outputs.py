"""Networks that give something else than logits, or take something else than a float image."""

from pathlib import Path

from meta_ood_ros.core.bundle import Bundle, BundleError
from meta_ood_ros.core.networks.onnx_network import OnnxNetwork
from meta_ood_ros.core.networks.onnx_outputs import check_values, trial_sizes
import numpy as np
import pytest
import torch

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

FLOAT, UINT8, FLOAT16 = 1, 2, 10
IMAGE = ('n', 3, 'h', 'w')


def _graph(*ends, classes=4, image=IMAGE, kind=FLOAT) -> bytes:
    """Return logits[c] = c times the sum over RGB at every second pixel, and what follows them."""
    helper = onnx.helper
    weight = np.repeat(np.arange(classes, dtype=np.float32), 3).reshape(classes, 3, 1, 1)
    nodes, last = [], 'image'
    for operator, attributes in (('Conv', {'strides': [2, 2]}), *ends):
        inputs = [last, 'weight'] if operator == 'Conv' else [last]
        last = f'after_{len(nodes)}'
        nodes.append(helper.make_node(operator, inputs, [last], **attributes))
    if kind != FLOAT:
        nodes.insert(0, helper.make_node('Cast', ['image'], ['cast'], to=FLOAT))
        nodes[1].input[0] = 'cast'
    output = onnx.TensorProto.INT64 if ends and ends[-1][0] == 'ArgMax' else FLOAT
    graph = helper.make_graph(
        nodes,
        'network',
        [helper.make_tensor_value_info('image', kind, image)],
        [helper.make_tensor_value_info(last, output, None)],
        [onnx.numpy_helper.from_array(weight, 'weight')],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    return model.SerializeToString()


SOFTMAX = ('Softmax', {'axis': 1})


@pytest.mark.parametrize(
    ('ends', 'message'),
    [
        ([SOFTMAX], 'probabilities that add up to 1 over the classes: it ends in a softmax'),
        ([('Sigmoid', {})], 'values from 0 to 1 .* it ends in a sigmoid'),
        ([('ArgMax', {'axis': 1, 'keepdims': 0})], r'\(1, 64, 64\) int64. These are class ids'),
        ([('ArgMax', {'axis': 1, 'keepdims': 1})], r'\(1, 1, 64, 64\) int64. These are class id'),
        ([('Transpose', {'perm': [0, 2, 3, 1]})], r'\(1, 64, 64, 4\)\. Its channels come'),
    ],
)
def test_what_is_no_logits_is_named(ends, message):
    with pytest.raises(ValueError, match=message):
        OnnxNetwork(_graph(*ends), num_classes=4)


@pytest.mark.parametrize('ends', [[], [('LogSoftmax', {'axis': 1})], [('Relu', {})]])
def test_logits_are_accepted_however_they_are_scaled(ends):
    assert OnnxNetwork(_graph(*ends), num_classes=4).num_classes == 4


def test_half_precision_probabilities_are_known_too():
    logits = torch.randn(1, 100, 8, 8)
    with pytest.raises(ValueError, match='it ends in a softmax'):
        check_values(logits.softmax(1).half().float().numpy())
    with pytest.raises(ValueError, match='finite logits for any image, got NaN'):
        check_values(np.full((1, 2, 1, 1), np.nan, np.float32))
    check_values(np.zeros((1, 2, 4, 4), np.float32))  # a network that never learned


@pytest.mark.parametrize('channels', [3, 'c', None])
def test_a_named_channel_axis_is_accepted(channels):
    network = OnnxNetwork(_graph(image=('n', channels, 'h', 'w')), num_classes=4)
    assert network(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 4, 4)


@pytest.mark.parametrize(
    ('image', 'kind', 'message'),
    [
        (('n', 'h', 'w', 3), FLOAT, r'Its channels come last \(NHWC\): put a Transpose before it'),
        (IMAGE, UINT8, r'It takes bytes \(uint8\): leave scaling'),
        (IMAGE, FLOAT16, 'It takes other floats: export it in float32'),
    ],
)
def test_other_inputs_are_named(image, kind, message):
    with pytest.raises(ValueError, match=message):
        OnnxNetwork(_graph(image=image, kind=kind), num_classes=4)


# A kernel of 200 x 200 px takes no smaller image.
LEAST = ('MaxPool', {'kernel_shape': [100, 100], 'strides': [1, 1]})


def test_a_graph_that_needs_a_least_size_is_accepted():
    assert OnnxNetwork(_graph(LEAST), num_classes=4, stride=4).stride == 4
    with pytest.raises(
        ValueError, match=r'image of shape \(1, 3, 64, 84\), .* choose a work size'
    ):
        OnnxNetwork(_graph(LEAST), num_classes=4, stride=4, work_short_side=64)


def test_a_bundle_tries_its_network_at_its_own_work_size():
    described = {
        'name': 'own',
        'architecture': 'onnx',
        'arguments': {'stride': 4},
        'class_names': tuple('abcd'),
        'class_colors': ((0, 0, 0),) * 4,
        'entropy_threshold': 0.5,
        'onnx': _graph(LEAST),
    }
    assert Bundle(**described, work_short_side=240).build_network().num_classes == 4
    with pytest.raises(BundleError, match=r'image of shape \(1, 3, 128, 172\), but onnxruntime'):
        Bundle(**described, work_short_side=128).build_network()


def test_trial_sizes_follow_what_the_graph_leaves_open():
    assert trial_sizes(['h', 'w'], stride=32, short_side=384) == [(384, 512)]
    assert trial_sizes([64, None], stride=32, short_side=384) == [(64, 512)]
    assert trial_sizes(['h', 'w'], stride=24, short_side=0) == [(96, 96), (528, 528)]
    assert trial_sizes([8, 12], stride=4, short_side=0) == [(8, 12)]


def test_cases(cases_dir: Path):
    for name in ('good', 'channel_named'):
        OnnxNetwork((cases_dir / f'onnx/{name}.onnx').read_bytes(), num_classes=3)
    with pytest.raises(ValueError, match='it ends in a softmax'):
        OnnxNetwork((cases_dir / 'onnx/softmax.onnx').read_bytes(), num_classes=3)
