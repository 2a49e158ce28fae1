"""Vectors lie in lists (inverted file, IVF), of which a search reads a few; the file is mapped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from tessera.bundles.indexes.door import FILE
from tessera.bundles.indexes.read_lists import POINTS, ListReader, number_of_lists
from tessera.contracts.arrays import Bools, Float32s, Ints


@dataclass(frozen=True, slots=True)
class Lists:
    """Whole vectors in lists."""

    reader: ListReader

    @property
    def count(self) -> int:
        """Number of vectors."""
        return int(self.reader.index.ntotal)

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self.reader.index.d)

    def among(self, query_1D: Float32s, listed_N: Bools, most: int) -> tuple[Ints, Float32s]:
        """Return the nearest of the lists that were read; a near one may be left out."""
        return self.reader.near(query_1D, listed_N, most, most)

    def vectors(self, first: int, count: int) -> Float32s:
        """Return so many vectors from a row on."""
        return np.asarray(self.reader.index.reconstruct_n(first, count), np.float32)


def write(vector_ND: Float32s, bundle: Path) -> None:
    """Learn where the lists lie, on one thread, and write them."""
    faiss.omp_set_num_threads(1)
    count, width = vector_ND.shape
    lists = number_of_lists(count)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid = POINTS
    index.train(vector_ND)
    index.add(vector_ND)
    faiss.write_index(index, str(bundle / FILE))


def open_index(index: faiss.Index, bundle: Path) -> Lists | None:  # noqa: ARG001
    """Open it; None if it is of another kind."""
    if not isinstance(index, faiss.IndexIVFFlat):
        return None
    index.make_direct_map()  # else no vector can be read again
    return Lists(ListReader.of(index))
