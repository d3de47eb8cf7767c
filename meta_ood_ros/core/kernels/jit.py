"""
Python function with a signature -> machine code, compiled once at the first call.

The kernels release the GIL and are spread over the cores by core/parallel.py instead of numba's
own threads: its thread pools either abort the process when two Python threads meet in them
(workqueue) or when a process that used them forks (GNU OpenMP), and cost seconds of compilation.
"""

from collections.abc import Callable
from pathlib import Path
import threading
from typing import Any

from llvmlite import ir
import numba
from numba import types
from numba.extending import intrinsic

# Products and sums may be fused, nothing more: reassociation would delete the rounding trick in
# the exponential, and without NaN arithmetic bad logits would pass unnoticed.
_FASTMATH = {'contract', 'nsz'}

# Files of parts that are compiled into kernels of other files.
PARTS = (
    'dense_tiles.py',
    'depth_modes.py',
    'interpolation.py',
    'jit.py',
    'lanes.py',
    'raster.py',
    'segment_marks.py',
    'segment_softmax.py',
    'segment_sums.py',
)

# Decorates a function that is compiled into the kernels which call it: inlined, because a call
# would count references to each array it passes, which costs more than most parts do.
part = numba.njit(fastmath=_FASTMATH, error_model='numpy', forceinline=True)


def array(dtype: types.Type, ndim: int, *, readonly: bool = True) -> types.Array:
    """Return the numba type of a C-contiguous array; a writable one fits a read-only argument."""
    return types.Array(dtype, ndim, 'C', readonly=readonly)


class Kernel:
    """
    A numba function with one signature, compiled (or read from numba's cache) at the first call.

    Attributes
    ----------
    signature : numba signature
        The only one: arguments of another dtype are refused rather than compiled anew, because
        a second compilation would stop a running robot for seconds.

    """

    def __init__(self, function: Callable[..., Any], signature: Any) -> None:
        self.function = function
        self.signature = signature
        self._compiled: Callable[..., Any] | None = None
        self._lock = threading.Lock()

    def __call__(self, *arguments: Any) -> Any:
        """Run the kernel."""
        return (self._compiled or self.compile())(*arguments)

    def compile(self) -> Callable[..., Any]:
        """Return the machine code, made now if it was not yet."""
        with self._lock:
            if self._compiled is None:
                try:
                    self._compiled = self._jit(cache=True)
                # numba raises RuntimeError where no folder can hold the cache, OSError where the
                # disk is full, and whatever unpickling raises where a cache file is damaged. None
                # of these may stop a robot: it only compiles at each start then.
                except Exception:
                    self._compiled = self._jit(cache=False)
            return self._compiled

    def _jit(self, *, cache: bool) -> Callable[..., Any]:
        if cache:
            self._drop_stale_cache(numba.njit(cache=True)(self.function))
        return numba.njit(
            self.signature, nogil=True, cache=cache, fastmath=_FASTMATH, error_model='numpy'
        )(self.function)

    def _drop_stale_cache(self, dispatcher: Any) -> None:
        # numba watches the kernel's own file, but not those of the parts compiled into it
        newest = max((Path(__file__).parent / name).stat().st_mtime for name in PARTS)
        module = Path(self.function.__code__.co_filename).stem
        for index in Path(dispatcher.stats.cache_path).glob(f'{module}.*.nbi'):
            if index.stat().st_mtime < newest:
                index.unlink(missing_ok=True)


def kernel(
    *arguments: types.Type, returns: types.Type = types.void
) -> Callable[[Callable[..., Any]], Kernel]:
    """Return a decorator that turns a function of the given argument types into a Kernel."""

    def decorate(function: Callable[..., Any]) -> Kernel:
        return Kernel(function, returns(*arguments))

    return decorate


@intrinsic
def bits_to_float(typing_context: Any, bits: Any) -> Any:
    """Return the float32 (float64) with the bit pattern of an int32 (int64)."""
    target = types.float64 if bits.bitwidth == 64 else types.float32
    return target(bits), _bitcast


@intrinsic
def float_to_bits(typing_context: Any, value: Any) -> Any:
    """Return the bit pattern of a float32 (float64) as int32 (int64)."""
    target = types.int64 if value.bitwidth == 64 else types.int32
    return target(value), _bitcast


def _bitcast(context: Any, builder: Any, signature: Any, arguments: Any) -> ir.Value:
    return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))
