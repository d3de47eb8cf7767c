"""
The figures of `python -m benchmarks`, in the order in which they are measured.

A figure is a module with a TITLE and a function measure(options) -> list of Comparison. To add
one, write the module and name it here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from benchmarks.figures.comparison import Comparison, Options

MODULES = (
    'benchmarks.segments.post_processing',
    'benchmarks.segments.metrics_of_segments',
    'benchmarks.segments.places_of_segments',
    'benchmarks.segments.growth',
    'benchmarks.network.cameras',
    'benchmarks.segments.instructions',
    'benchmarks.training.leave_one_out',
    'benchmarks.node.node_overhead',
    'benchmarks.node.node_memory',
    'benchmarks.network.default_bundle',
    'benchmarks.network.busy_neighbour',
    'benchmarks.network.floors',
    'benchmarks.network.gpu',
)


@dataclass(frozen=True)
class Figure:
    """What is measured together."""

    name: str
    title: str
    measure: Callable[[Options], list[Comparison]]


def load_figures(names: tuple[str, ...] = ()) -> tuple[Figure, ...]:
    """Return the figures of those names, or all."""
    known = {module.rpartition('.')[2]: module for module in MODULES}
    for name in names:
        if name not in known:
            raise ValueError(
                f'there is no figure {name!r}. The figures are: {", ".join(known)}. '
                'Give one of these to --only.'
            )
    chosen = names or tuple(known)
    modules = {name: import_module(known[name]) for name in chosen}
    return tuple(Figure(name, module.TITLE, module.measure) for name, module in modules.items())
