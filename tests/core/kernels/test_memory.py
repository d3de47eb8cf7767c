"""Settings of the allocator, seen in the page faults and the heaps of a process of its own."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource
from meta_ood_ros.core.kernels.memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
def use(size=40 << 20):
    block = libc.malloc(ctypes.c_size_t(size))
    ctypes.memset(block, 1, size)
    libc.free(ctypes.c_void_p(block))
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

HEAPS = """
import ctypes, threading
from meta_ood_ros.core.kernels.memory import share_one_heap
if {share}:
    assert share_one_heap()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
places = []
def take():
    places.append(libc.malloc(ctypes.c_size_t(100)))
take()
thread = threading.Thread(target=take)
thread.start()
thread.join()
print(abs(places[0] - places[1]))
"""


def run(program: str, **choices: bool) -> int:
    code = program.format(**choices)
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True, timeout=120
    )
    return int(done.stdout)


pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != 'glibc', reason='only glibc knows mallopt'
)


def test_kept_memory_is_not_cleared_again():
    pages = 5 * (40 << 20) // 4096
    assert run(FAULTS, keep=False) > 0.9 * pages
    assert run(FAULTS, keep=True) < 0.01 * pages


def test_threads_share_one_heap():
    other_heap = 1 << 30  # heaps of threads are mapped far away from the first
    assert run(HEAPS, share=False) > other_heap
    assert run(HEAPS, share=True) < other_heap
