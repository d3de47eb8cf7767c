"""A flat mask and a position -> where the next run of set pixels begins, and where it ends."""

from meta_ood_ros.core.kernels.jit import part
import numpy as np

_EIGHT_ONES = np.uint64(0x0101010101010101)


@part
def find_set(mask, words, position, end):  # type: ignore[no-untyped-def]
    """
    Return the first position from the given one on where a mask is 1, or end.

    Parameters
    ----------
    mask : ndarray of shape (n,), uint8
        The image, flat; 0 or 1.
    words : ndarray of shape (n // 8,), uint64
        The same memory: most of an image is not OoD, so it is skipped eight bytes at a time.

    """
    while position < end and mask[position] == 0:
        if position & 7 == 0:
            while position + 8 <= end and words[position >> 3] == 0:
                position += 8
            if position >= end or mask[position] != 0:
                break
        position += 1
    return position


@part
def find_end(mask, words, position, end):  # type: ignore[no-untyped-def]
    """
    Return the first position from the given one on where a mask is 0, or end.

    Parameters
    ----------
    mask : ndarray of shape (n,), uint8
        The image, flat; 0 or 1.
    words : ndarray of shape (n // 8,), uint64
        The same memory.

    """
    while position < end and mask[position] != 0:
        if position & 7 == 0:
            while position + 8 <= end and words[position >> 3] == _EIGHT_ONES:
                position += 8
            if position >= end or mask[position] == 0:
                break
        position += 1
    return position
