"""The check while configuring: it passes what is equal and refuses what is not."""

from meta_ood_ros.core.backends import BackendError, load_backend, self_check, TOLERANCES
import pytest
import torch


class _Stub:
    """A backend that gives chosen logits."""

    name = 'onnx'
    device = torch.device('cpu')

    def __init__(self, logits, precision='fp32'):
        self.logits = logits
        self.precision = precision

    def __call__(self, x):
        return self.logits

    def prepare(self, size, *, batch=1):
        pass


def _logits_of_entropy_one_and_zero() -> torch.Tensor:
    """Return (1, 2, 1, 4): three pixels undecided (entropy 1), one certain (entropy 0)."""
    return torch.tensor([[[[0.0, 0.0, 0.0, 90.0]], [[0.0, 0.0, 0.0, -90.0]]]])


def test_equal_logits_differ_by_nothing():
    logits = _logits_of_entropy_one_and_zero()
    found = self_check(_Stub(logits), lambda_network(logits), torch.zeros(1, 3, 2, 8))
    assert (found.mean_difference, found.largest_difference) == (0.0, 0.0)
    assert found.equal_classes == 1.0
    assert found.tolerance == TOLERANCES['fp32']


def test_differences_are_those_of_the_entropy():
    """One of four pixels goes from entropy 1 to 0 and from class 0 to class 1."""
    expected = _logits_of_entropy_one_and_zero()
    got = expected.clone()
    got[0, :, 0, 1] = torch.tensor([-90.0, 90.0])
    match = (
        r'entropy of backend onnx in bf16 must agree with float32 eager to 0\.02 on average and '
        r'0\.3 at most, got 0\.25 and 1\. Set precision to fp32'
    )
    with pytest.raises(BackendError, match=match):
        self_check(_Stub(got, 'bf16'), lambda_network(expected), torch.zeros(1, 3, 2, 8))


@pytest.mark.parametrize('precision', ['fp32', 'fp16', 'bf16'])
def test_each_precision_has_its_own_tolerance(precision):
    """Two classes, logits d and -d: entropy near 1 falls by about d^2 / (2 log 2)."""
    expected = torch.zeros(1, 2, 8, 8)
    for factor, agrees in ((0.9, True), (1.1, False)):
        drop = factor * TOLERANCES[precision].mean
        d = (2 * drop * 0.6931) ** 0.5
        got = torch.stack([torch.full((8, 8), d), torch.full((8, 8), -d)])[None]
        backend, network = _Stub(got, precision), lambda_network(expected)
        if agrees:
            found = self_check(backend, network, torch.zeros(1, 3, 16, 16))
            assert found.mean_difference == pytest.approx(drop, rel=0.05)
        else:
            with pytest.raises(BackendError, match='must agree with float32 eager'):
                self_check(backend, network, torch.zeros(1, 3, 16, 16))


def test_nan_is_refused():
    logits = _logits_of_entropy_one_and_zero()
    broken = torch.full_like(logits, torch.nan)
    with pytest.raises(BackendError, match=r'got not a number\. Set precision to fp32'):
        self_check(_Stub(broken), lambda_network(logits), torch.zeros(1, 3, 2, 8))


def test_other_grid_is_refused():
    logits = _logits_of_entropy_one_and_zero()
    with pytest.raises(BackendError, match=r'shape \(1, 2, 1, 4\) as float32 eager does, got'):
        self_check(_Stub(logits[..., :2]), lambda_network(logits), torch.zeros(1, 3, 2, 8))


@pytest.mark.parametrize(('name', 'precision'), [('eager', 'fp32'), ('eager', 'bf16')])
def test_real_backend_agrees(tiny_network, tiny_image, name, precision):
    backend = load_backend(name, tiny_network, device='cpu', precision=precision)
    found = self_check(backend, tiny_network, tiny_image)
    assert found.equal_classes > 0.9


def lambda_network(logits) -> torch.nn.Module:
    """Return a network that gives these logits for any image."""

    class Network(torch.nn.Module):
        def forward(self, x):
            return logits

    return Network()
