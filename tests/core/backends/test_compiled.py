"""torch.compile: same logits, any of several sizes, and what is missing is explained."""

from meta_ood_ros.core.backends import BackendError, load_backend, self_check
from meta_ood_ros.core.backends.compiled import check_toolchain
import pytest
import torch


@pytest.mark.slow
def test_logits_are_those_of_the_network(small_network):
    backend = load_backend('compile', small_network, device='cpu')
    backend.prepare((16, 16))  # the compiler takes ten seconds and more
    x = torch.linspace(-2, 2, 3 * 16 * 16).reshape(1, 3, 16, 16)
    logits = backend(x)
    assert logits.dtype == torch.float32
    assert not logits.requires_grad
    assert (logits - small_network(x)).abs().max() <= 1e-5
    assert self_check(backend, small_network, x).equal_classes > 0.99
    kept = logits.clone()
    backend(-x)
    assert torch.equal(logits, kept)  # results do not share memory


def test_missing_compiler_is_named(small_network, monkeypatch):
    monkeypatch.setenv('CXX', 'no-such-compiler')
    match = r'needs a C\+\+ compiler, but no-such-compiler is not installed\. Run: apt install g'
    with pytest.raises(BackendError, match=match):
        load_backend('compile', small_network, device='cpu')


def test_missing_triton_is_named(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    match = r'on a GPU needs the package triton, which is not installed\. Run: pip install triton'
    with pytest.raises(BackendError, match=match):
        check_toolchain(torch.device('cuda', 0))


def test_failing_compiler_is_reported_in_one_sentence(small_network):
    backend = load_backend('compile', small_network, device='cpu')

    def fail(x):
        raise torch._dynamo.exc.TorchDynamoException('g++ died\nwith a long log')

    backend._compiled = fail
    match = (
        r'could not compile the network for \(1, 3, 16, 16\): g\+\+ died Set backend to auto\.$'
    )
    with pytest.raises(BackendError, match=match):
        backend.prepare((16, 16))


def test_precisions_that_pytorch_cannot_run_are_refused(small_network):
    with pytest.raises(BackendError, match=r'backend compile must be .* got int8'):
        load_backend('compile', small_network, device='cpu', precision='int8')
    with pytest.raises(BackendError, match=r'backend compile on the CPU must be .* got fp16'):
        load_backend('compile', small_network, device='cpu', precision='fp16')
