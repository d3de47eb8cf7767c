"""A method's own pass through the network, and who has none."""

from types import SimpleNamespace

from meta_ood_ros.core.networks import OnnxNetwork
from meta_ood_training.methods import MethodNeedsError, METHODS, Observer, Setup
from meta_ood_training.methods.own_pass import OwnPass
import numpy as np
import pytest
import torch


@pytest.mark.parametrize('method', ['odin', 'mc_dropout_entropy', 'flow', 'flow_minimum'])
def test_an_onnx_file_cannot_be_looked_into(method):
    network = OnnxNetwork.__new__(OnnxNetwork)
    torch.nn.Module.__init__(network)
    bundle = SimpleNamespace(build_network=lambda: network)
    with pytest.raises(MethodNeedsError, match=f'{method} needs the layers .* got an ONNX file'):
        METHODS[method].build(Setup(bundle, network))


def test_both_passes_say_what_the_running_network_says(tiny_bundle):
    observer = Observer.from_bundle(tiny_bundle, device='cpu')
    setup = Setup(tiny_bundle, observer.network)
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    logits, _ = observer.run(image)
    for own in (OwnPass.of(setup, 'one'), OwnPass.of_running(setup, 'one')):
        with torch.no_grad():
            found = own.network(own.to_input(image))[0]
        torch.testing.assert_close(found, logits, rtol=1e-3, atol=1e-3)
    assert OwnPass.of(setup, 'one').network is not observer.network
