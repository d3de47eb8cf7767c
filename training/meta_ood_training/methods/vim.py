"""Principal space of the features, and the scale of what lies outside: Wang et al., CVPR 2022."""

from collections.abc import Callable, Iterable, Iterator

from meta_ood_ros.core.scorers import VimScorer
from meta_ood_training.datasets import IGNORED, OOD
from meta_ood_training.methods.observation import Observation
import torch
from torch import Tensor


def fit_vim(
    walk: Callable[[], Iterable[Observation]],
    last_weights: tuple[Tensor, Tensor],
    *,
    align_corners: bool,
    principal: int = 0,
) -> VimScorer:
    """
    Return the scorer fitted on the in-distribution cells of the network's output grid.

    Parameters
    ----------
    walk : callable
        Each call walks the frames anew; it is called twice. OOD and IGNORED do not count.
    last_weights : (Tensor (C, D), Tensor (C,))
        Matrix and bias of the last layer.
    align_corners : bool
        How the logits are upsampled.
    principal : int
        Dimensions of the principal space, below D; 0 is half of D, as the authors take about
        half (1000 of 2048).

    """
    weight, bias = (one.double().cpu() for one in last_weights)
    features_count = weight.shape[1]
    principal = principal or features_count // 2
    if not 1 <= principal < features_count:
        raise ValueError(
            f'principal must lie in 1..{features_count - 1}, got {principal}. '
            f'The network has {features_count} features.'
        )
    origin = -torch.linalg.pinv(weight) @ bias
    scatter = torch.zeros(features_count, features_count, dtype=torch.float64)
    cells = 0
    for features, _ in _in_distribution(walk()):
        centred = features.double().cpu() - origin[:, None]
        scatter += centred @ centred.T
        cells += centred.shape[1]
    if cells <= features_count:
        raise ValueError(
            f'vim needs more in-distribution cells than its {features_count} features, '
            f'got {cells}. Give labelled street frames.'
        )
    _, directions = torch.linalg.eigh(scatter)  # ascending: the first carry the least
    residual = directions[:, : features_count - principal].T.contiguous().numpy()
    scorer = VimScorer(origin.numpy(), residual, 1.0, align_corners=align_corners)
    best = norms = 0.0
    for features, logits in _in_distribution(walk()):
        norm = scorer.residual_norm(features.float().cpu()[:, :, None])
        norms += float(norm.double().sum())
        best += float(logits.amax(0).double().sum())
    if not norms > 0.0:
        raise ValueError(
            'vim needs features that leave their principal space, got none that do. '
            f'Lower principal, {principal} of {features_count}.'
        )
    return VimScorer(origin.numpy(), residual, best / norms, align_corners=align_corners)


def _in_distribution(observations: Iterable[Observation]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield features (D, n) and logits (C, n) of the cells that count."""
    for one in observations:
        assert one.features is not None
        targets = one.targets_on_output_grid()
        counts = torch.from_numpy((targets != IGNORED) & (targets != OOD)).to(one.logits.device)
        yield one.features[:, counts], one.logits[:, counts]
