"""Memory that a step has freed stays with the process for the next step."""

import ctypes

# of mallopt(3)
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """
    Ask the C library not to give freed memory back to the system.

    A step on a CPU allocates and frees gigabytes in blocks of megabytes. By default each goes
    back to the system at once and is cleared, page by page, when it is asked for again: on some
    machines that takes most of a step.

    Returns
    -------
    bool
        Whether it was understood; only glibc knows this request.

    """
    try:
        request = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    megabyte = 1 << 20
    wishes = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2047 * megabyte), (_TOP_PAD, 64 * megabyte))
    return all(request(what, value) == 1 for what, value in wishes)
