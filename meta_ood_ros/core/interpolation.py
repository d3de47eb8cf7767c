"""Which two input rows (or columns) an output row is a mixture of, when an image is resized."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Taps:
    """
    One axis of a bilinear resize: output i is (1 - weight) * in[low] + weight * in[high].

    Attributes
    ----------
    low, high : ndarray of shape (out_size,), int32
        Input indices, low <= high <= low + 1.
    weight : ndarray of shape (out_size,), float64
        Share of `high`, in [0, 1).

    """

    low: NDArray[np.int32]
    high: NDArray[np.int32]
    weight: NDArray[np.float64]


@lru_cache(maxsize=32)
def find_taps(in_size: int, out_size: int, *, align_corners: bool) -> Taps:
    """
    Return the taps of torch.nn.functional.interpolate(mode='bilinear') along one axis.

    Parameters
    ----------
    in_size, out_size : int
        Pixels along the axis before and after, at least 1.
    align_corners : bool
        True: the centres of the corner pixels coincide. False: the corners themselves do.

    Returns
    -------
    Taps
        Read-only and shared between callers: a camera asks for the same sizes at every frame.

    """
    index = np.arange(out_size, dtype=np.float64)
    if align_corners:
        position = index * ((in_size - 1) / (out_size - 1)) if out_size > 1 else index
    else:
        position = np.maximum((index + 0.5) * (in_size / out_size) - 0.5, 0.0)
    low = np.minimum(position.astype(np.int32), in_size - 1).astype(np.int32)
    high = np.minimum(low + 1, in_size - 1).astype(np.int32)
    # the last input pixel has no right neighbour: high == low, and the weight must not matter
    weight = np.where(high > low, position - low, 0.0)
    for array in (low, high, weight):
        array.flags.writeable = False
    return Taps(low, high, weight)
