"""MobileNetV2 and DeepLabv3+ on it: the published size, and what dilation must not change."""

from meta_ood_ros.core.networks import build_network
from meta_ood_ros.core.networks.mobilenet import InvertedResidual, MobileNetV2, to_channels
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

NAME = 'deeplabv3plus_mobilenet_v2'


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_backbone_has_the_published_size():
    # 3,504,872 parameters for ImageNet, of which 1280 (320 + 2) in the last convolution with its
    # batch norm and 1000 (1280 + 1) in the classifier
    assert _count(MobileNetV2()) == 3_504_872 - 1280 * (320 + 2) - 1000 * (1280 + 1)


def test_edge_network_fits_its_budget():
    count = _count(build_network(NAME, num_classes=19))
    assert count < 4_000_000
    assert 2 * count < 16e6  # bytes in fp16


def test_sides_and_channels():
    backbone = MobileNetV2()
    fine, coarse = backbone(torch.zeros(2, 3, 64, 96))
    assert fine.shape == (2, 24, 16, 24)
    assert coarse.shape == (2, 320, 4, 6)
    assert (backbone.fine_channels, backbone.coarse_channels) == (24, 320)


def _strides_and_dilations(backbone: nn.Module) -> list[tuple[int, int]]:
    blocks = [block for block in backbone.modules() if isinstance(block, InvertedResidual)]
    depthwise = [m for b in blocks for m in b.layers if isinstance(m, nn.Conv2d) and m.groups > 1]
    return [(conv.stride[0], conv.dilation[0]) for conv in depthwise]


def test_strides_beyond_the_output_stride_become_dilation():
    stride_16 = _strides_and_dilations(MobileNetV2(output_stride=16))
    # rows of table 2: 1, 2, 3, 4, 3, 3, 1 blocks
    expected = [(1, 1), (2, 1), (1, 1), (2, 1), (1, 1), (1, 1), (2, 1), *[(1, 1)] * 6]
    assert stride_16 == [*expected, (1, 1), (1, 2), (1, 2), (1, 2)]
    stride_8 = _strides_and_dilations(MobileNetV2(output_stride=8))
    assert stride_8[:6] == expected[:6]
    assert stride_8[6:] == [(1, 1), *[(1, 2)] * 6, (1, 2), *[(1, 4)] * 3]


def test_finer_output_stride_computes_the_same_map_more_densely(noise):
    """With equal weights every second value at output stride 8 is the map at output stride 16."""
    dense, sparse = MobileNetV2(output_stride=8).eval(), MobileNetV2(output_stride=16).eval()
    sparse.load_state_dict(dense.state_dict())
    x = noise(1, 3, 64, 96)
    with torch.inference_mode():
        fine_dense, coarse_dense = dense(x)
        fine_sparse, coarse_sparse = sparse(x)
    assert torch.equal(fine_dense, fine_sparse)
    expected = coarse_dense[:, :, ::2, ::2]
    assert coarse_dense.shape[2:] == (8, 12)
    torch.testing.assert_close(coarse_sparse, expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0


def test_residual_only_where_shapes_agree(noise):
    same = InvertedResidual(8, 8, expansion=6, stride=1, dilation=1).eval()
    other = InvertedResidual(8, 16, expansion=6, stride=1, dilation=1).eval()
    for block in (same, other):
        nn.init.zeros_(block.layers[-1].weight)  # the last batch norm: the layers give zero
    x = noise(1, 8, 5, 5)
    with torch.inference_mode():
        assert torch.equal(same(x), x)
        assert not other(x).any()


@pytest.mark.parametrize(
    ('base', 'width', 'channels'),
    [(32, 1.0, 32), (24, 0.5, 16), (16, 0.35, 8), (24, 1.4, 32), (320, 0.75, 240), (16, 0.1, 8)],
)
def test_channels_are_multiples_of_eight_and_not_far_below(base, width, channels):
    assert to_channels(base, width) == channels


@pytest.mark.parametrize('output_stride', [8, 16])
@pytest.mark.parametrize('is_separable', [False, True])
def test_trains_with_a_batch_of_two(noise, output_stride, is_separable):
    network = build_network(
        NAME,
        num_classes=5,
        width=0.35,
        output_stride=output_stride,
        aspp_channels=16,
        is_separable=is_separable,
    )
    assert network.stride == output_stride
    logits = network(noise(2, 3, 64, 96))
    assert logits.shape == (2, 5, 16, 24)
    target = torch.arange(logits[:, 0].numel()).reshape(2, 16, 24) % 5
    cross_entropy(logits, target).backward()
    without = [k for k, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_one_image_cannot_train_after_global_pooling(noise):
    network = build_network(NAME, num_classes=5, width=0.35, aspp_channels=16)
    with pytest.raises(ValueError, match='more than 1 value per channel'):
        network(noise(1, 3, 64, 64))


@pytest.mark.parametrize('size', [(65, 97), (33, 130), (1, 1)])
def test_odd_sides_are_rounded_up(noise, size):
    network = build_network(NAME, num_classes=3, width=0.35, aspp_channels=16).eval()
    with torch.inference_mode():
        logits = network(noise(1, 3, *size))
    assert logits.shape == (1, 3, -(-size[0] // 4), -(-size[1] // 4))


def test_dropout_is_off_in_eval_mode(noise):
    network = build_network(NAME, num_classes=3, width=0.35, aspp_channels=16, dropout=0.9).eval()
    x = noise(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(network(x), network(x))


@pytest.mark.parametrize(
    ('arguments', 'match'),
    [
        ({'output_stride': 4}, r'output_stride must be 8 or 16, got 4\. 16 is'),
        ({'width': 0.0}, r'width must lie in \[0\.1, 4\], got 0\.0\. 1\.0 is'),
        ({'aspp_channels': 4}, r'aspp_channels must be at least 8, got 4\. 256 is'),
    ],
)
def test_impossible_arguments_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        build_network(NAME, num_classes=19, **arguments)


def test_atrous_rates_are_those_of_the_pyramid():
    network = build_network(NAME, num_classes=3, atrous_rates=[2, 4, 8], output_stride=8)
    assert [branch[0].dilation for branch in network.pyramid[1:]] == [(4, 4), (8, 8), (16, 16)]


@pytest.mark.parametrize('rates', [(), (6, 12), (0, 6, 12)])
def test_refuses_other_atrous_rates(rates):
    with pytest.raises(ValueError, match='atrous_rates must be three dilations'):
        build_network(NAME, num_classes=3, atrous_rates=rates)


@pytest.mark.parametrize('rates', [(3, 6, 9), (6, 12, 18)])
def test_a_crop_teaches_all_weights_of_the_pyramid_only_if_it_is_wider(rates):
    """At 256 pixels and output stride 16 the map is 16 wide: a dilation of 18 leaves it."""
    torch.manual_seed(0)
    network = build_network(NAME, num_classes=3, aspp_channels=8, atrous_rates=rates)
    network(torch.randn(2, 3, 256, 256)).square().mean().backward()
    weights = [branch[0].weight.grad.abs().sum(dim=(0, 1)) for branch in network.pyramid[1:]]
    assert [bool(weight.all()) for weight in weights] == [rate < 16 for rate in rates]
