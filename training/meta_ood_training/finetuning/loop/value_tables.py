"""What each label value of an image means for the objective, as the one-pass loss takes it."""

from collections.abc import Sequence
from typing import NamedTuple

from meta_ood_training.datasets.sample import OOD
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

VALUES = 256
_MASKED = np.float32(-1e30)  # as a logit: probability 0 beside any other


class ValueTables(NamedTuple):
    """
    What each label value means for one image.

    Attributes
    ----------
    share : ndarray of shape (256,), float32
        Factor of the teacher's logits in the target's: 0 takes them out, 1 takes them.
    offset : ndarray of shape (256 * C,), float32
        Added to them; the target is the softmax of the sum.
    weight : ndarray of shape (256,), float32
        Of one pixel's loss in the total.
    is_known, is_ood : ndarray of shape (256,), float32
        1 where pixels count for l_in or l_out.
    class_weights : ndarray of shape (C,), float32
        Of each class in l_in.

    """

    share: NDArray[np.float32]
    offset: NDArray[np.float32]
    weight: NDArray[np.float32]
    is_known: NDArray[np.float32]
    is_ood: NDArray[np.float32]
    class_weights: NDArray[np.float32]


def make_tables(
    num_classes: int,
    weights: tuple[float, float],
    class_weights: Sequence[float],
    sets: Tensor | None,
) -> ValueTables:
    """
    Return what each label value means for one image.

    Parameters
    ----------
    sets : Tensor of shape (256, C), bool, optional
        Classes that each value may stand for, where there is a teacher.

    """
    share = np.zeros(VALUES, np.float32)
    offset = np.zeros((VALUES, num_classes), np.float32)
    known = np.zeros(VALUES, bool)
    known[:num_classes] = True
    offset[:num_classes] = np.where(np.eye(num_classes, dtype=bool), 0, _MASKED)
    if sets is not None:
        allowed = sets.numpy()
        taught = allowed.any(1)
        offset[taught] = np.where(allowed[taught], 0, _MASKED)
        share[taught] = 1
        known |= taught
    # what is OoD stays OoD, whatever a teacher is asked about: the uniform target
    share[OOD], offset[OOD], known[OOD] = 0, 0, False
    is_ood = np.arange(VALUES) == OOD
    weight = known * np.float32(weights[0]) + is_ood * np.float32(weights[1])
    tables = (share, offset.reshape(-1), weight, known, is_ood, class_weights)
    arrays = [np.array(table, np.float32) for table in tables]
    for one in arrays:
        one.flags.writeable = False
    return ValueTables(*arrays)
