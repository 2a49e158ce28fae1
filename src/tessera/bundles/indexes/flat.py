"""Every vector is looked at: the very nearest are found, and no tie is cut."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from tessera.bundles.indexes.door import FILE, found, selected
from tessera.contracts.arrays import Bools, Float32s, Ints


@dataclass(frozen=True, slots=True)
class Flat:
    """Vectors in the order of the items."""

    index: faiss.Index

    @property
    def count(self) -> int:
        """Number of vectors."""
        return int(self.index.ntotal)

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self.index.d)

    def among(self, query_1D: Float32s, listed_N: Bools, most: int) -> tuple[Ints, Float32s]:
        """Ask for more than wanted until nothing that ties with the last place is cut off."""
        listed = int(np.count_nonzero(listed_N))
        how = faiss.SearchParameters()
        how.sel, _bits = selected(listed_N)
        asked = min(most + 1, listed)
        while True:
            score_1K, row_1K = self.index.search(query_1D, asked, params=how)
            row_K, score_K = found(row_1K[0], score_1K[0])
            if asked == listed or len(row_K) < asked or score_K[-1] < score_K[most - 1]:
                return row_K, score_K
            asked = min(2 * asked, listed)

    def vectors(self, first: int, count: int) -> Float32s:
        """Return so many vectors from a row on."""
        return np.asarray(self.index.reconstruct_n(first, count), np.float32)


def write(vector_ND: Float32s, bundle: Path) -> None:
    """Write the vectors."""
    index = faiss.IndexFlatIP(vector_ND.shape[1])
    index.add(vector_ND)
    faiss.write_index(index, str(bundle / FILE))


def open_index(index: faiss.Index, bundle: Path) -> Flat | None:  # noqa: ARG001
    """Open it; None if it is of another kind."""
    return Flat(index) if isinstance(index, faiss.IndexFlat) else None
