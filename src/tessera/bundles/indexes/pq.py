"""Vectors lie in lists as short codes; the best of them are weighed again by whole vectors.

Whole vectors stay on the disk and are mapped.  A code is that of what the centre of its list leaves
over (product quantization: Jégou, Douze and Schmid, IEEE PAMI 33(1), 2011, section 4).
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from tessera.bundles.indexes.door import FILE
from tessera.bundles.indexes.read_lists import POINTS, ListReader, number_of_lists
from tessera.contracts.arrays import Bools, Float32s, Ints
from tessera.contracts.errors import BadParams, BrokenBundle

WHOLE = "vectors.f32"
"""Whole vectors, one after the other in the order of the items, without a header."""
_BITS = 8
_PAIR = 2
"""Numbers of a vector that one byte stands for, where its width is even."""
_SHORTLIST, _LEAST = 4, 200
"""So many times what is wanted, and at least so many, are weighed again."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """Codes in lists, and whole vectors beside them."""

    reader: ListReader
    vector_ND: Float32s

    @property
    def count(self) -> int:
        """Number of vectors."""
        return len(self.vector_ND)

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self.vector_ND.shape[1])

    def among(self, query_1D: Float32s, listed_N: Bools, most: int) -> tuple[Ints, Float32s]:
        """Return the shortlist by codes with the inner products of its whole vectors."""
        shortlist = max(_SHORTLIST * most, _LEAST)
        row_K, _ = self.reader.near(query_1D, listed_N, most, shortlist)
        row_K = np.sort(row_K)  # in the order of the file
        return row_K, self.vector_ND[row_K] @ query_1D[0]

    def vectors(self, first: int, count: int) -> Float32s:
        """Return so many vectors from a row on."""
        return self.vector_ND[first : first + count]


def write(vector_ND: Float32s, bundle: Path) -> None:
    """Learn lists and codewords, on one thread; write codes and whole vectors.

    Raises
    ------
    BadParams
        If there are fewer vectors than codewords.
    """
    faiss.omp_set_num_threads(1)
    count, width = vector_ND.shape
    if count < 1 << _BITS:
        raise BadParams(
            f"index.kind pq learns {1 << _BITS} codewords from the vectors, and there are {count}: "
            "set index.kind to auto"
        )
    lists = number_of_lists(count)
    codes = width // _PAIR if width % _PAIR == 0 else width
    coarse, metric = faiss.IndexFlatIP(width), faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexIVFPQ(coarse, width, lists, codes, _BITS, metric)
    index.cp.max_points_per_centroid = POINTS
    index.pq.cp.min_points_per_centroid = 1  # it would only warn
    index.train(vector_ND)
    index.add(vector_ND)
    faiss.write_index(index, str(bundle / FILE))
    vector_ND.tofile(bundle / WHOLE)


def open_index(index: faiss.Index, bundle: Path) -> Quantized | None:
    """Open it and map the whole vectors; None if it is of another kind.

    Raises
    ------
    BrokenBundle
        If the whole vectors are not those of the index.
    """
    if not isinstance(index, faiss.IndexIVFPQ):
        return None
    with (bundle / WHOLE).open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    mapped.madvise(mmap.MADV_RANDOM)  # a page of a shortlist says nothing of the next one
    flat = np.frombuffer(mapped, np.float32)
    if len(flat) != index.ntotal * index.d:
        raise BrokenBundle(f"{bundle.name}: {WHOLE} does not match {FILE}: publish it again")
    return Quantized(ListReader.of(index), flat.reshape(index.ntotal, index.d))
