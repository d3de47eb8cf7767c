"""
The nearest of many embeddings by cosine, exactly or through a graph.

`exact` multiplies all with all, and sorts few of the products: where the k largest are, there are
also k groups of products with the largest maxima, and these need only be compared. `hnsw` is
faiss's hierarchical graph (Malkov and Yashunin, 2018), which finds nearly all of them in a
fraction of the time and needs faiss-cpu.
"""

from importlib.util import find_spec
from math import sqrt
from typing import Any, Protocol

from meta_ood_training.plain_arguments import check_choice
import numpy as np
from numpy.typing import NDArray
import torch
from torch.nn.functional import normalize

KINDS = ('auto', 'exact', 'hnsw')
LINKS, BUILD_WIDTH, SEARCH_WIDTH = 32, 80, 96
"""Of the graph: links a node, and how many candidates are held while building and searching."""
_MOST_PRODUCTS = 1 << 19  # of one block of the exact search: 2 MiB, which stay in a cache


class Neighbours(Protocol):
    """Finds the embeddings that point most nearly in the direction of others."""

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray, NDArray]:
        """Return cosines (Q, k), descending, and indices (Q, k) of queries (Q, D)."""


def build_neighbours(values: NDArray[np.float32], kind: str = 'auto') -> Neighbours:
    """Return an index over embeddings (N, D); `auto` takes the graph where faiss is installed."""
    check_choice('index', kind, list(KINDS))
    has_faiss = find_spec('faiss') is not None
    if kind == 'hnsw' and not has_faiss:
        raise ModuleNotFoundError(
            "index 'hnsw' needs faiss, got no such module. Run `pip install faiss-cpu`, or choose "
            "'exact'.",
            name='faiss',
        )
    if kind == 'exact' or not has_faiss:
        return ExactNeighbours(values)
    return GraphNeighbours(values)


class ExactNeighbours:
    """All products, in blocks of queries."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        self._values = torch.from_numpy(_to_directions(values)).T.contiguous()

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray, NDArray]:
        """Return cosines and indices; ties in any order."""
        number = self._values.shape[1]
        k = min(k, number)
        block = max(1, _MOST_PRODUCTS // number)
        members = max(1, int(sqrt(number / k)))  # of a group: as many maxima as products compared
        groups = number // members
        grouped = groups * members
        others = torch.arange(grouped, number)  # in no group: always compared
        steps = groups * torch.arange(members)[:, None]
        cosines = np.empty((len(queries), k), dtype=np.float32)
        indices = np.empty((len(queries), k), dtype=np.int64)
        directions = torch.from_numpy(_to_directions(queries))
        for start in range(0, len(queries), block):
            rows = slice(start, start + block)
            products = directions[rows] @ self._values
            maxima = products[:, :grouped].unflatten(1, (members, groups)).amax(1)
            first = maxima.topk(min(k, groups), dim=1, sorted=False).indices
            places = (first[:, None] + steps).flatten(1)
            places = torch.cat([places, others.expand(len(places), -1)], dim=1)
            best = products.gather(1, places).topk(k, dim=1)
            cosines[rows] = best.values.numpy()
            indices[rows] = places.gather(1, best.indices).numpy()
        return cosines, indices


class GraphNeighbours:
    """faiss's HNSW graph over inner products of unit vectors; nearly all neighbours are found."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        import faiss

        self._count = len(values)
        self._index: Any = faiss.IndexHNSWFlat(values.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = BUILD_WIDTH
        self._index.add(_to_directions(values))

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray, NDArray]:
        """Return cosines and indices, best first."""
        k = min(k, self._count)
        self._index.hnsw.efSearch = max(SEARCH_WIDTH, k)
        cosines, indices = self._index.search(_to_directions(queries), k)
        # a place that the graph left empty repeats the worst that it found
        for column in range(1, k):
            missing = indices[:, column] < 0
            indices[missing, column] = indices[missing, column - 1]
            cosines[missing, column] = cosines[missing, column - 1]
        return cosines, indices


def _to_directions(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors of length 1; a zero vector stays, with cosine 0 to everything."""
    tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(normalize(tensor, dim=1).numpy())
