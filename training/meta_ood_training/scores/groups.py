"""Names of groups -> numbers of what must not be torn apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def join_groups(names: Sequence[str]) -> np.ndarray:
    """
    Return numbers for what must not be torn apart.

    Parameters
    ----------
    names : sequence of K str
        Groups; 'block+source' belongs to both the block and the source, and everything that is
        linked by a chain of such names is one group.

    Returns
    -------
    ndarray of shape (K,), int64
        Group numbers from 0, in the order of their first name.

    """
    parent: dict[str, str] = {}

    def find(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for name in dict.fromkeys(names):
        first, *others = str(name).split('+')
        find(first)
        for other in others:
            parent[find(other)] = find(first)
    roots = [find(str(name).split('+')[0]) for name in names]
    number = {root: index for index, root in enumerate(dict.fromkeys(roots))}
    return np.array([number[root] for root in roots], dtype=np.int64)
