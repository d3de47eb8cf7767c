"""Label value -> the classes it may stand for -> a teacher's probabilities restricted to them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION
import numpy as np
import torch
from torch import Tensor


class Teaching(NamedTuple):
    """
    A teacher's view of a batch.

    Attributes
    ----------
    logits : Tensor of shape (N, C, h, w), float
        Class scores of the clean crops, at the teacher's own resolution.
    sets : Tensor of shape (N, 256, C), bool
        Classes that each label value of each image may stand for; a value with none is what its
        label says.

    """

    logits: Tensor
    align_corners: bool
    sets: Tensor


CAMVID_SETS = {
    0: (0,),
    1: (1,),
    2: (2, 3),
    4: (3, 4),
    5: (5,),
    7: (6, 7),
    8: (8, 9),
    10: (10,),
    11: (11,),
    13: (13, 14, 15),
    18: (12, 17, 18),
}
"""CamVid's 11 classes are coarser than Cityscapes' 19: its building includes walls, its sign
traffic lights, its tree grass, its car trucks and buses, its bicyclist riders and motorcycles."""


FACADE_SETS = {0: (0,), 1: (1,), 2: (2, 3), 8: (8, 9), 10: (10,), 13: (13, 14, 15)}
"""LabelMeFacade's building includes walls, its vegetation grass, its car trucks and buses."""


def label_sets(
    num_classes: int, targets: str, sets: Mapping[int, Sequence[int]] | None = None
) -> np.ndarray:
    """
    Return which classes each target value may stand for.

    Parameters
    ----------
    targets : str
        `labels`: a class id stands for itself, all else for nothing. `teacher`: the same, and
        unlabelled pixels (253, 255) may be anything. `consistent` and `cautious`: like
        `teacher`, with the given sets. `sure`: like `labels`, and 253 alone may be anything.

    Returns
    -------
    ndarray of shape (256, C), bool
        A row without a True is no in-distribution target; 254 (OoD) always is such a row.

    """
    table = np.zeros((256, num_classes), bool)
    np.fill_diagonal(table, True)
    if targets == 'labels':
        return table
    table[IN_DISTRIBUTION] = True
    if targets == 'sure':
        return table
    table[IGNORED] = True
    if targets in ('consistent', 'cautious'):
        for value, classes in (sets or {}).items():
            table[value] = False
            table[value, list(classes)] = True
    return table


def restrict_teacher(teacher_logits: Tensor, allowed: Tensor) -> Tensor:
    """
    Return the teacher's probabilities given that the class is one of the allowed ones.

    Parameters
    ----------
    teacher_logits : Tensor of shape (N, C, H, W), float
        Class scores before the softmax.
    allowed : Tensor of shape (N, C, H, W), bool
        Classes that each pixel's label may stand for.

    Returns
    -------
    Tensor of shape (N, C, H, W), float
        Sums to 1 over the allowed classes; all 0 where none is allowed. One allowed class gives
        it probability 1, whatever the teacher says.

    Notes
    -----
    The softmax over the allowed logits alone: p(c | x, c allowed) without dividing by a mass
    that may be 0.

    """
    masked = teacher_logits.masked_fill(~allowed, -torch.inf)
    # A pixel without any allowed class would be 0 / 0.
    empty = ~allowed.any(1, keepdim=True)
    return masked.masked_fill(empty, 0.0).softmax(1).masked_fill(empty, 0.0)
