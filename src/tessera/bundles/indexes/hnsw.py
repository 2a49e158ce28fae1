"""Vectors are joined in a graph (HNSW, Malkov and Yashunin 2018, arXiv 1603.09320).

A search that skips what is not listed gets lost where a whole region is closed.  So the graph is
asked for the nearest of all, ever more of them, until enough are listed: these are the nearest
listed ones as surely as the graph finds its nearest.  Where that would take too long every listed
vector is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from tessera.bundles.indexes.door import FILE, found
from tessera.bundles.indexes.flat import Flat
from tessera.contracts.arrays import Bools, Float32s, Ints

_LINKS = 32
"""Links of a vector."""
_LEAST, _MOST = 256, 4096
"""Vectors that the graph is asked for; beyond the most a look at every vector is as quick."""
_SPARE, _MORE = 1.5, 4
"""So many times what chance would need are asked for first, and so many times more next."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph over vectors in the order of the items."""

    index: faiss.IndexHNSWFlat
    every: Flat

    @property
    def count(self) -> int:
        """Number of vectors."""
        return self.every.count

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return self.every.width

    def among(self, query_1D: Float32s, listed_N: Bools, most: int) -> tuple[Ints, Float32s]:
        """Ask the graph for ever more of all vectors until enough of them are listed."""
        share = np.count_nonzero(listed_N) / len(listed_N)
        asked = max(_LEAST, int(_SPARE * most / share))
        while asked <= min(_MOST, self.count):
            how = vars(faiss)["SearchParametersHNSW"]()  # which its stubs do not know
            how.efSearch = asked
            score_1K, row_1K = self.index.search(query_1D, asked, params=how)
            row_K, score_K = found(row_1K[0], score_1K[0])
            is_listed_K = listed_N[row_K]
            if np.count_nonzero(is_listed_K) >= most:
                return row_K[is_listed_K], score_K[is_listed_K]
            asked *= _MORE
        return self.every.among(query_1D, listed_N, most)

    def vectors(self, first: int, count: int) -> Float32s:
        """Return so many vectors from a row on."""
        return self.every.vectors(first, count)


def write(vector_ND: Float32s, bundle: Path) -> None:
    """Join one vector after the other, on one thread."""
    faiss.omp_set_num_threads(1)
    index = faiss.IndexHNSWFlat(vector_ND.shape[1], _LINKS, faiss.METRIC_INNER_PRODUCT)
    index.add(vector_ND)
    faiss.write_index(index, str(bundle / FILE))


def open_index(index: faiss.Index, bundle: Path) -> Graph | None:  # noqa: ARG001
    """Open it; None if it is of another kind."""
    if not isinstance(index, faiss.IndexHNSWFlat):
        return None
    return Graph(index, Flat(faiss.downcast_index(index.storage)))
