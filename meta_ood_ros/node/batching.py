"""Which frames go through the network together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from meta_ood_ros.core.backends import Backend

Item = TypeVar('Item')


def batch_sizes(
    backend: Backend, cameras: int, *, has_fixed_batch: bool = False
) -> tuple[int, ...]:
    """
    Return how many frames of several cameras a backend shall take at once.

    Parameters
    ----------
    has_fixed_batch : bool
        Whether the network takes one image at a time and no more, as an ONNX graph may.

    Returns
    -------
    tuple of int
        Ascending, 1 among them. On a CPU only 1: the cores are busy with one frame, so that a
        batch would delay its first answer and speed up none. Backends that build a graph for
        each batch size take one frame or one of each camera, and no graph in between is built
        while the robot drives. onnxruntime has the shape that its file may fix.

    """
    if backend.device.type == 'cpu' or backend.name == 'onnx' or has_fixed_batch:
        return (1,)
    if cameras < 2:
        return (1,)
    if backend.name == 'eager':
        return tuple(range(1, cameras + 1))
    return (1, cameras)


def group(
    items: Sequence[Item], *, key: Callable[[Item], object], sizes: Sequence[int]
) -> list[list[Item]]:
    """
    Divide items into batches.

    Returns
    -------
    list of list
        Every item once: those of a key together, keys in the order of their first item, each
        divided into the largest sizes that fit.

    """
    by_key: dict[object, list[Item]] = {}
    for item in items:
        by_key.setdefault(key(item), []).append(item)
    batches = []
    for alike in by_key.values():
        while alike:
            count = max(size for size in sizes if size <= len(alike))
            batches.append(alike[:count])
            alike = alike[count:]
    return batches
