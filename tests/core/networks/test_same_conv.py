"""Padding as TensorFlow's SAME: by hand, and against ONNX, which defines it as SAME_UPPER."""

from meta_ood_ros.core.networks.same_conv import SameConv
import pytest
import torch


def _row_conv(**arguments) -> SameConv:
    """Return a convolution that writes down which three pixels of a row it saw, as digits."""
    conv = SameConv(1, 1, 3, **arguments)
    conv.weight.data.zero_()
    conv.weight.data[0, 0, 1] = torch.tensor([1.0, 10.0, 100.0])
    return conv.requires_grad_(False)


@pytest.mark.parametrize(
    ('pixels', 'arguments', 'expected'),
    [
        ((1, 2, 3, 4), {'stride': 2}, (321, 43)),  # even: a zero after the row
        ((1, 2, 3, 4, 5), {'stride': 2}, (210, 432, 54)),  # odd: one before, one after
        ((1, 2, 3, 4), {'stride': 1}, (210, 321, 432, 43)),
        ((1, 2, 3, 4), {'stride': 1, 'dilation': 2}, (310, 420, 31, 42)),
        ((1, 2, 3, 4), {'stride': 2, 'before': 1}, (210, 432)),
        ((1, 2, 3, 4, 5), {'stride': 2, 'before': 0}, (321, 543, 5)),
        ((7,), {'stride': 2}, (70,)),
    ],
)
def test_by_hand(pixels, arguments, expected):
    # three equal rows: the window's middle row lies on one of them however the image is padded
    conv = _row_conv(**arguments)
    x = torch.tensor(pixels, dtype=torch.float32).expand(1, 1, 3, -1)
    assert conv(x)[0, 0, 0].tolist() == list(expected)


@pytest.mark.parametrize('stride', [1, 2, 3])
@pytest.mark.parametrize(('kernel', 'groups'), [(1, 1), (3, 4), (5, 1)])
def test_equals_the_operator_of_onnx(noise, stride, kernel, groups):
    onnx = pytest.importorskip('onnx')
    onnxruntime = pytest.importorskip('onnxruntime')
    conv = SameConv(4, 8, kernel, stride=stride, groups=groups)
    weight, bias = conv.weight.detach().numpy(), noise(8)
    conv.bias.data.copy_(bias)
    float_tensor = onnx.TensorProto.FLOAT
    node = onnx.helper.make_node(
        'Conv',
        ['x', 'weight', 'bias'],
        ['y'],
        auto_pad='SAME_UPPER',
        kernel_shape=[kernel] * 2,
        strides=[stride] * 2,
        group=groups,
    )
    graph = onnx.helper.make_graph(
        [node],
        'conv',
        [onnx.helper.make_tensor_value_info('x', float_tensor, [1, 4, 'h', 'w'])],
        [onnx.helper.make_tensor_value_info('y', float_tensor, [1, 8, 'i', 'j'])],
        [
            onnx.numpy_helper.from_array(weight, 'weight'),
            onnx.numpy_helper.from_array(bias.numpy(), 'bias'),
        ],
    )
    opset = onnx.helper.make_opsetid('', 17)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=['CPUExecutionProvider']
    )
    for size in ((8, 9), (7, 12), (10, 11), (1, 2)):
        x = noise(1, 4, *size)
        (expected,) = session.run(None, {'x': x.numpy()})
        with torch.inference_mode():
            y = conv(x)
        assert y.shape[2:] == (-(-size[0] // stride), -(-size[1] // stride))
        torch.testing.assert_close(y, torch.from_numpy(expected), rtol=1e-4, atol=1e-5)


def test_random_weights_keep_the_mean_square(noise):
    """Four layers of ReLU, then a linear one: without normalisation nothing may fade or grow."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        convs = [SameConv(256, 256, 1) for _ in range(4)]
        last = SameConv(256, 256, 1, is_linear=True)
    x = noise(1, 256, 16, 16)
    with torch.inference_mode():
        for conv in convs:
            x = torch.relu(conv(x))
        ratio = last(x).square().mean() / x.square().mean()
    assert 0.7 < x.square().mean() < 1.4
    assert 0.8 < ratio < 1.25
