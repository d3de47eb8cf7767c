"""Class logits and the planes of a head -> a score a pixel, higher = more OoD."""

from typing import Literal

from meta_ood_ros.core.dense import predict_dense
from meta_ood_training.heads.beside import Outputs
from meta_ood_training.heads.dirichlet import Measure, MEASURES
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
from torch.nn.functional import interpolate

ScoreKind = Literal['entropy', 'void_class', 'dirichlet', 'outlier_head', 'residual_head']
_STRIP = 64
"""Rows of the result at a time: C planes in float64 of a whole image would be 50 MB and more."""


def score_outputs(
    kind: ScoreKind,
    outputs: Outputs,
    size: tuple[int, int],
    *,
    align_corners: bool,
    measure: Measure = 'differential_entropy',
) -> NDArray[np.float32]:
    """
    Return the score map of one image.

    Parameters
    ----------
    kind : str
        `entropy` of the softmax; `void_class`, its probability among C + 1; `dirichlet`, a
        measure of the prior; `outlier_head`, its probability; `residual_head`, the entropy of
        logits plus residual.
    outputs : Outputs
        Of a batch of one.
    size : (int, int)
        Height and width of the result [px].

    Returns
    -------
    ndarray of shape (H, W), float32

    """
    logits, planes = outputs
    if kind == 'entropy':
        return predict_dense(logits[0], size, align_corners=align_corners).entropy
    if kind == 'residual_head':
        lifted = add_residual(logits, _needed(planes, kind), align_corners=align_corners)
        return predict_dense(lifted[0], size, align_corners=align_corners).entropy

    def enlarge(maps: Tensor) -> Tensor:
        return interpolate(maps.float(), size, mode='bilinear', align_corners=align_corners)

    if kind == 'outlier_head':
        return enlarge(_needed(planes, kind)).sigmoid()[0, 0].cpu().numpy()
    rows = enlarge(logits)
    if kind == 'void_class':
        joined = torch.cat([rows, enlarge(_needed(planes, kind))], 1)
        return joined.softmax(1)[0, -1].cpu().numpy()
    if kind != 'dirichlet':
        raise ValueError(
            'a score must be entropy, void_class, dirichlet, outlier_head or residual_head, got '
            f'{kind!r}. Check its spelling.'
        )
    strips = [
        MEASURES[measure](rows[:, :, top : top + _STRIP]) for top in range(0, size[0], _STRIP)
    ]
    return torch.cat(strips, 1)[0].float().cpu().numpy()


def add_residual(logits: Tensor, planes: Tensor, *, align_corners: bool) -> Tensor:
    """Return logits (N, C, h, w) plus a residual (N, C, h', w') brought to their grid."""
    return logits + to_grid(planes, logits, align_corners=align_corners)


def to_grid(planes: Tensor, logits: Tensor, *, align_corners: bool) -> Tensor:
    """Return planes at the resolution of the logits."""
    size = logits.shape[-2:]
    if planes.shape[-2:] == size:
        return planes
    return interpolate(planes, size, mode='bilinear', align_corners=align_corners)


def _needed(planes: Tensor | None, kind: str) -> Tensor:
    if planes is None:
        raise ValueError(
            f'the score {kind} needs the planes of a head, got none. Take a network that was '
            f'trained with objective.kind {kind}.'
        )
    return planes
