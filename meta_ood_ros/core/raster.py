"""A flat image and a position -> the next position where something is."""

from meta_ood_ros.core.jit import FUSED
import numba


@numba.njit(fastmath=set(FUSED), error_model='numpy')
def find_set(values, words, position, end):  # type: ignore[no-untyped-def]
    """
    Return the first position from the given one on whose value is not 0, or end.

    Parameters
    ----------
    values : ndarray of shape (n,), uint8 or int32
        The image, flat.
    words : ndarray of shape (n * itemsize // 8,), uint64
        The same memory: most of an image is not OoD, so it is skipped eight bytes at a time.
    position, end : int
        Where to begin and to stop, 0 <= position, end <= n.

    Returns
    -------
    int

    """
    step = 8 // values.itemsize
    while position < end and values[position] == 0:
        if position % step == 0 and position + step <= end and words[position // step] == 0:
            position += step
        else:
            position += 1
    return position
