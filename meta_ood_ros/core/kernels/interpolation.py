"""Which two input rows (or columns) an output row is a mixture of, when an image is resized."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from numba import types
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


class Grid(NamedTuple):
    """
    Taps of both axes in the form that kernels take.

    Attributes
    ----------
    row_low, row_high, column_low, column_high : ndarray of shape (H,) or (W,), int32
    row_weight, column_weight : ndarray of shape (H,) or (W,), float32 or float64
        Share of row_high and column_high.

    """

    shape: tuple[int, int, int]
    row_low: NDArray[np.int32]
    row_high: NDArray[np.int32]
    row_weight: NDArray[np.floating]
    column_low: NDArray[np.int32]
    column_high: NDArray[np.int32]
    column_weight: NDArray[np.floating]


def grid_type(dtype: types.Float) -> types.NamedTuple:
    """Return the numba type of a Grid."""
    index, weight = (types.Array(t, 1, 'C', readonly=True) for t in (types.int32, dtype))
    shape = types.UniTuple(types.intp, 3)
    return types.NamedTuple((shape, index, index, weight, index, index, weight), Grid)


@lru_cache(maxsize=32)
def find_grid(
    shape: tuple[int, int, int], size: tuple[int, int], dtype: str, *, align_corners: bool
) -> Grid:
    """Return how logits are upsampled to the size of an image."""
    rows = find_taps(shape[1], size[0], align_corners=align_corners)
    columns = find_taps(shape[2], size[1], align_corners=align_corners)
    weights = [taps.weight.astype(dtype) for taps in (rows, columns)]
    for weight in weights:
        weight.flags.writeable = False
    return Grid(shape, rows.low, rows.high, weights[0], columns.low, columns.high, weights[1])


def count_sources(low: NDArray[np.int32], high: NDArray[np.int32], pixels: int) -> int:
    """
    Return from how many input pixels a tile of output pixels is mixed, at most.

    Parameters
    ----------
    low, high : ndarray of shape (n,), int32
        Taps of one axis.

    """
    first = low[: max(len(low) - pixels + 1, 1)]
    last = high[min(pixels, len(high)) - 1 :]
    return int((last - first).max()) + 1
