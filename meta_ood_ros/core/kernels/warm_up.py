"""
Everything that is compiled at its first call -> compiled now, before the first image.

    python -m meta_ood_ros.core.kernels.warm_up

fills the cache once after an installation, so that no start of the node pays for it.
"""

from meta_ood_ros.core import segments
from meta_ood_ros.core.kernels import dense_cpu, depth_samples, segment_sums_from_logits
from meta_ood_ros.core.kernels.jit import Kernel


def warm_up() -> None:
    """
    Compile the kernels, or read them from numba's cache.

    Notes
    -----
    Takes 9 s of one core and 170 MB where nothing is cached (the first start after an
    installation), 0.4 s and 60 MB afterwards (measured on an AMD EPYC, numba 0.68). A node calls
    it while it is being configured; without it the first image waits. The cache is numba's:
    beside the package, or in the user's cache folder where the package is not writable, or
    NUMBA_CACHE_DIR; where none can be written, each start compiles.

    """
    for module in (dense_cpu, segments, segment_sums_from_logits):
        for value in vars(module).values():
            if isinstance(value, Kernel):
                value.compile()
    warm_up_depth()


def warm_up_depth() -> None:
    """Compile the kernels of `core.places`, which only a node with depth needs."""
    for kernels in (depth_samples.SAMPLE_DEPTH, depth_samples.GATHER_POINTS):
        for one in kernels.values():
            one.compile()


if __name__ == '__main__':
    warm_up()
