"""What is fitted on labelled frames, against statistics and geometry known beforehand."""

from meta_ood_training.datasets import IGNORED, OOD
from meta_ood_training.methods import Observation
from meta_ood_training.methods.standardized_max_logit import fit_standardized_max_logit
from meta_ood_training.methods.vim import fit_vim
import numpy as np
import pytest
import torch


def observation(logits, features=None, targets=None):
    size = logits.shape[1:]
    targets = np.zeros(size, dtype=np.uint8) if targets is None else targets
    return Observation(np.zeros((*size, 3), dtype=np.uint8), logits, features, targets)


def frames(count=3, classes=4, size=(20, 30)):
    generator = torch.Generator().manual_seed(4)
    return [torch.randn(classes, *size, generator=generator) * 3 + 5 for _ in range(count)]


def test_statistics_of_the_max_logit_by_class():
    logits = frames()
    best, predicted = (
        torch.cat(parts) for parts in zip(*(one.flatten(1).max(0) for one in logits), strict=True)
    )
    scorer = fit_standardized_max_logit(map(observation, logits), align_corners=False)
    for number in range(4):
        own = best[predicted == number].double()
        assert scorer.mean[number] == pytest.approx(own.mean().item(), rel=1e-5)
        assert scorer.std[number] == pytest.approx(own.std(correction=0).item(), rel=1e-4)
    scores = np.concatenate([scorer.score(observation(one).image, one).ravel() for one in logits])
    assert scores.mean() == pytest.approx(0.0, abs=1e-4)
    assert scores.std() == pytest.approx(1.0, abs=1e-4)


def test_ood_and_ignored_pixels_do_not_count():
    (logits,) = frames(1, size=(40, 30))
    targets = np.zeros((40, 30), dtype=np.uint8)
    targets[:10], targets[10:20] = OOD, IGNORED
    spoiled = logits.clone()
    spoiled[:, :20] = 1e4
    one = fit_standardized_max_logit([observation(spoiled, None, targets)], align_corners=False)
    clean = fit_standardized_max_logit([observation(logits[:, 20:])], align_corners=False)
    np.testing.assert_allclose(one.mean, clean.mean, rtol=1e-6)


def test_a_rare_class_has_the_statistics_of_all():
    (logits,) = frames(1)
    logits[3] = -100.0
    scorer = fit_standardized_max_logit([observation(logits)], align_corners=False)
    best = logits.amax(0).double()
    assert scorer.mean[3] == pytest.approx(best.mean().item(), rel=1e-5)
    assert scorer.std[3] == pytest.approx(best.std(correction=0).item(), rel=1e-4)


def test_too_little_to_fit_on_is_said():
    targets = np.full((20, 30), OOD, dtype=np.uint8)
    only_ood = [observation(frames(1)[0], None, targets)]
    with pytest.raises(ValueError, match='at least 100 in-distribution pixels .* got 0'):
        fit_standardized_max_logit(only_ood, align_corners=False)
    flat = [observation(torch.ones(3, 20, 20))]
    with pytest.raises(ValueError, match='max logits that vary, got one value everywhere'):
        fit_standardized_max_logit(flat, align_corners=False)


def planar(count=2, lift=0.1):
    """Return features near the plane of the axes 0 and 1 of six, and the last layer's logits."""
    generator = torch.Generator().manual_seed(6)
    weight, bias = torch.randn(4, 6, generator=generator), torch.randn(4, generator=generator)
    origin = -torch.linalg.pinv(weight.double()) @ bias.double()
    found = []
    for _ in range(count):
        features = torch.randn(6, 16, 18, generator=generator)
        features[2:] *= lift
        features = features + origin.float()[:, None, None]
        logits = torch.einsum('cd,dhw->chw', weight, features) + bias[:, None, None] + 3
        found.append(observation(logits, features))
    return found, (weight, bias), origin


def test_vim_finds_the_plane_and_scales_by_the_max_logits():
    seen, last, origin = planar()
    scorer = fit_vim(lambda: seen, last, align_corners=False, principal=2)
    np.testing.assert_allclose(scorer.origin, origin, rtol=1e-5)
    assert scorer.residual.shape == (4, 6)
    np.testing.assert_allclose(scorer.residual @ scorer.residual.T, np.eye(4), atol=1e-6)
    assert np.abs(scorer.residual[:, :2]).max() < 0.05  # orthogonal to the plane
    norms = torch.cat([scorer.residual_norm(one.features).flatten() for one in seen])
    best = torch.cat([one.logits.amax(0).flatten() for one in seen])
    assert scorer.alpha == pytest.approx((best.mean() / norms.mean()).item(), rel=1e-4)
    outside = seen[0].features.clone()
    outside[3] += 5.0
    lifted = scorer.score(seen[0].image, seen[0].logits, outside)
    assert (lifted > scorer.score(seen[0].image, seen[0].logits, seen[0].features) + 1).all()


def test_vim_does_not_see_ood_cells():
    seen, last, _ = planar(1)
    (one,) = seen
    targets = np.zeros((16, 18), dtype=np.uint8)
    targets[:8] = OOD
    spoiled = one.features.clone()
    spoiled[:, :8] = 1e3
    given = observation(one.logits, spoiled, targets)
    half = observation(one.logits[:, 8:], one.features[:, 8:])
    found, clean = (fit_vim(lambda s=s: [s], last, align_corners=False) for s in (given, half))
    np.testing.assert_allclose(found.alpha, clean.alpha, rtol=1e-5)
    projections = [fit.residual.T @ fit.residual for fit in (found, clean)]
    np.testing.assert_allclose(*projections, atol=1e-5)


def test_vim_refuses_what_cannot_be_fitted():
    seen, last, _ = planar(1)
    with pytest.raises(ValueError, match=r'principal must lie in 1\.\.5, got 6'):
        fit_vim(lambda: seen, last, align_corners=False, principal=6)
    few = [observation(seen[0].logits[:, :1, :3], seen[0].features[:, :1, :3])]
    with pytest.raises(ValueError, match='more in-distribution cells than its 6 features, got 3'):
        fit_vim(lambda: few, last, align_corners=False)
    flat = [observation(one.logits, torch.zeros_like(one.features)) for one in seen]
    with pytest.raises(ValueError, match='features that leave their principal space, got none'):
        fit_vim(lambda: flat, (last[0], torch.zeros(4)), align_corners=False)
