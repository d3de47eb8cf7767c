"""How the C library handles the memory of this process: two settings for glibc's allocator."""

import ctypes

# of mallopt(3)
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_MEGABYTE = 1 << 20


def keep_freed_memory() -> bool:
    """
    Ask the C library not to give freed memory back to the system.

    A training step on a CPU allocates and frees gigabytes in blocks of megabytes. By default each
    goes back to the system at once and is cleared, page by page, when it is asked for again: on
    some machines that takes most of a step.
    """
    return _request({_MMAP_MAX: 0, _TRIM_THRESHOLD: 2047 * _MEGABYTE, _TOP_PAD: 64 * _MEGABYTE})


def share_one_heap() -> bool:
    """
    Ask the C library to serve all threads from one heap; to be called before threads start.

    By default each thread has a heap of its own. What a network has used while it was configured
    would stay with that thread, and the thread that works would take as much again.
    """
    return _request({_ARENA_MAX: 1})


def _request(wishes: dict[int, int]) -> bool:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return all(mallopt(what, value) == 1 for what, value in wishes.items())
