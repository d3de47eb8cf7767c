"""The flow: undone exactly, its determinant against autograd's, its density a density."""

import math

from meta_ood_training.methods.density import flow_fit
from meta_ood_training.methods.density.flow_fit import fit_flow, FlowPlan, mean_nll
from meta_ood_training.methods.density.real_nvp import RealNvp
import numpy as np
import pytest
import torch


def wild(dimensions, steps=6):
    """Return a flow with random weights and moments, so that nothing in it is the identity."""
    flow = RealNvp(dimensions, hidden=16, steps=steps, seed=1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in flow.parameters():
            tensor.copy_(0.4 * torch.randn(tensor.shape, generator=generator))
        for name, tensor in flow.named_buffers():
            if name.endswith(('variance', 'spread')):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            elif name.endswith(('mean', 'centre')):
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    return flow.eval()


@pytest.mark.parametrize('dimensions', [2, 5])
def test_what_goes_through_comes_back(dimensions):
    flow = wild(dimensions).double()
    z = torch.randn(50, dimensions, generator=torch.Generator().manual_seed(2)).double()
    latent, _ = flow(z)
    assert (latent - z).abs().mean() > 0.1
    torch.testing.assert_close(flow.inverse(latent), z)


def test_the_determinant_is_that_of_the_jacobian():
    flow = wild(5).double()
    for z in torch.randn(4, 5, generator=torch.Generator().manual_seed(2)).double():
        jacobian = torch.autograd.functional.jacobian(lambda one: flow(one[None])[0][0], z)
        expected = torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(flow(z[None])[1][0], expected)


def test_the_density_integrates_to_one():
    flow = wild(2, steps=4).double()
    with torch.no_grad():
        draws = flow.inverse(
            torch.randn(2000, 2, generator=torch.Generator().manual_seed(0)).double()
        )
        low, high = draws.amin(0) - 5.0, draws.amax(0) + 5.0
        axes = [torch.linspace(float(a), float(b), 1500) for a, b in zip(low, high, strict=True)]
        cell = math.prod(float(axis[1] - axis[0]) for axis in axes)
        points = torch.cartesian_prod(*axes).double()
        total = sum(float((-flow.nll(part)).exp().sum()) for part in points.split(1 << 17))
    assert total * cell == pytest.approx(1.0, abs=2e-3)


def test_it_starts_as_a_standardised_normal():
    flow = RealNvp(4, steps=32, seed=0).eval()
    flow.standardise((torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 2.0, 0.5, 4.0])))
    z = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    normal = torch.distributions.Normal(flow.centre, flow.spread)
    torch.testing.assert_close(flow.nll(z), -normal.log_prob(z).sum(1), rtol=1e-3, atol=1e-3)


def test_one_dimension_has_nothing_to_couple():
    with pytest.raises(ValueError, match='needs at least 2 dimensions, got 1'):
        RealNvp(1)


def ring(count=3000, seed=0):
    """Return points on a noisy circle: no Gaussian fits them."""
    random = np.random.default_rng(seed)
    angle = random.uniform(0, 2 * np.pi, count)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 4
    return (points + random.normal(0, 0.3, points.shape)).astype(np.float32)


SMALL = FlowPlan(iterations=300, batch=256, rate=5e-3, hidden=32, steps=8, held_out=200)


def test_a_fit_beats_the_best_gaussian_and_knows_its_own_nll():
    values = ring()
    flow = fit_flow(values, SMALL)
    fresh = torch.from_numpy(ring(seed=1))
    gaussian = torch.distributions.MultivariateNormal(
        torch.from_numpy(values.mean(0)), torch.from_numpy(np.cov(values.T)).float()
    )
    assert mean_nll(flow, fresh) < -float(gaussian.log_prob(fresh).mean()) - 0.5
    assert float(flow.training_nll) == pytest.approx(
        mean_nll(flow, torch.from_numpy(values[200:])), abs=1e-5
    )
    with torch.no_grad():
        centre, on_ring = flow.nll(torch.tensor([[0.0, 0.0], [4.0, 0.0]]))
    assert centre > on_ring + 2


def test_a_stopped_fit_goes_on_to_the_same_flow(tmp_path, monkeypatch):
    values, plan = ring(600), FlowPlan(iterations=40, batch=64, hidden=8, steps=3, held_out=50)
    whole = fit_flow(values, plan)
    checkpoint = tmp_path / 'flow.ckpt'

    class StoppedError(Exception):
        pass

    def stop(line):
        if line.startswith('iteration 24 '):
            raise StoppedError

    with pytest.raises(StoppedError):
        fit_flow(values, plan, checkpoint=checkpoint, tell=stop)
    told = []
    resumed = fit_flow(values, plan, checkpoint=checkpoint, tell=told.append)
    assert told[0] == 'goes on at iteration 20 of 40'
    for key, tensor in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[key], tensor, rtol=0, atol=0)
    for other, what in ((plan.__class__(iterations=41), 'plan'), (plan, 'fingerprint')):
        with pytest.raises(ValueError, match=f'must belong to the same {what}, got another'):
            fit_flow(values if what == 'plan' else ring(600, 5), other, checkpoint=checkpoint)


@pytest.mark.parametrize('content', [b'', b'nonsense', b'PK\x03\x04'])
def test_a_damaged_checkpoint_is_refused(tmp_path, content):
    (tmp_path / 'flow.ckpt').write_bytes(content)
    with pytest.raises(ValueError, match='must be the checkpoint of a flow, got .* Delete'):
        fit_flow(ring(100), FlowPlan(iterations=2), checkpoint=tmp_path / 'flow.ckpt')


def test_a_plan_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match='iterations of a flow must be at least 1, got 0'):
        FlowPlan(iterations=0)
    with pytest.raises(ValueError, match=r'rate of a flow must lie in \(0, 1\), got 1.5'):
        FlowPlan(rate=1.5)
    with pytest.raises(ValueError, match='needs at least 10 embeddings, got 3'):
        fit_flow(ring(3), FlowPlan())


def test_a_fit_that_never_gets_finite_says_so(monkeypatch):
    monkeypatch.setattr(flow_fit, 'mean_nll', lambda flow, values: float('nan'))
    with pytest.raises(ValueError, match='must reach a finite NLL, got none. Lower rate'):
        fit_flow(ring(100), FlowPlan(iterations=2, steps=1, hidden=4))
