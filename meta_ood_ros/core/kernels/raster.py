"""A mask or labels and a position -> where the next run begins, and where it ends."""

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


@part
def find_label(ids, position):  # type: ignore[no-untyped-def]
    """
    Return the first position from the given one on that has a label, or the end of the row.

    Parameters
    ----------
    ids : ndarray of shape (n,), int32
        A row of labels, 0 = none: skipped sixteen at a time, which the compiler compares at once.

    """
    while position + 16 <= ids.size:
        joined = np.int32(0)
        for q in range(16):
            joined |= ids[position + q]
        if joined != 0:
            break
        position += 16
    while position < ids.size and ids[position] == 0:
        position += 1
    return position


@part
def find_label_end(ids, position):  # type: ignore[no-untyped-def]
    """Return where the run of the label at a position ends, at most the end of the row."""
    label = ids[position]
    while position + 16 <= ids.size:
        differs = np.int32(0)
        for q in range(16):
            differs |= ids[position + q] ^ label
        if differs != 0:
            break
        position += 16
    while position < ids.size and ids[position] == label:
        position += 1
    return position
