"""Features: what the last layer makes logits of, for every network, folded or not."""

from meta_ood_ros.core.backends.fold import fold_batch_norms
from meta_ood_ros.core.networks import build_network, NETWORK_NAMES
from meta_ood_ros.core.networks.onnx_network import OnnxNetwork
import pytest
import torch

KINDS = [
    *((name, {}) for name in NETWORK_NAMES if name != 'deeplabv3plus_wide_resnet38'),
    ('espnet_v2', {'scale': 0.5}),
    ('deeplabv3plus_mobilenet_edgetpu', {'decoder_channels': 16}),
    ('deeplabv3plus_mobilenet_edgetpu', {'decoder_channels': 16, 'is_centred': True}),
    pytest.param('deeplabv3plus_wide_resnet38', {}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(('name', 'arguments'), KINDS)
def test_the_last_layer_makes_the_logits_of_the_features(name, arguments):
    torch.manual_seed(3)
    network = build_network(name, num_classes=7, **arguments).eval()
    for parameter in network.parameters():  # a decoder starts as zero
        if parameter.ndim == 1 or not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    x = torch.randn(2, 3, 48, 64)
    with torch.no_grad():
        for one in (network, fold_batch_norms(network)):
            logits, features = one.with_features(x)
            torch.testing.assert_close(logits, one(x))
            weight, bias = one.last_weights()
            assert features.shape == (2, weight.shape[1], *logits.shape[-2:])
            computed = torch.einsum('cd,ndhw->nchw', weight, features) + bias[:, None, None]
            error = (computed - logits).abs().max() / logits.std()
            assert error < 1e-4
            assert not [m for m in one.modules() if m._forward_pre_hooks]
        whole, folded = network.with_features(x), fold_batch_norms(network).with_features(x)
        assert (whole[1] - folded[1]).abs().max() < 1e-4 * whole[1].std().clamp(min=1)


def test_hooks_are_gone_after_an_error():
    network = build_network('espnet_v2', num_classes=3, scale=0.5).eval()
    with pytest.raises(RuntimeError):
        network.with_features(torch.zeros(1, 4, 32, 32))
    assert not [m for m in network.modules() if m._forward_pre_hooks]


def test_an_onnx_file_has_no_features():
    network = OnnxNetwork.__new__(OnnxNetwork)
    with pytest.raises(ValueError, match='which gives logits only'):
        OnnxNetwork.with_features(network, torch.zeros(1, 3, 32, 32))
