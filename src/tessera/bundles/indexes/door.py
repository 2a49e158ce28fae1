"""What every index over the vectors of a bundle has, and how FAISS is asked about some rows only.

Shapes: N rows in the order of the items, D width, K found rows, L lists.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from tessera.contracts.arrays import Bools, Float32s, Ints

FILE = "vectors.faiss"
"""Index of a bundle, which says itself of which kind it is."""


class VectorIndex(Protocol):
    """The vectors of a bundle in one layout."""

    @property
    def count(self) -> int:
        """Number of vectors."""

    @property
    def width(self) -> int:
        """Numbers of a vector."""

    def among(self, query_1D: Float32s, listed_N: Bools, most: int) -> tuple[Ints, Float32s]:
        """Return rows and inner products of near vectors among the listed rows, in any order.

        They are `most` at least, 1 <= most <= listed rows, but for vectors without an inner product
        (NaN), which are left out.  FAISS runs on one thread.
        """

    def vectors(self, first: int, count: int) -> Float32s:
        """Return so many vectors from a row on, as they were written."""


class Kind(Protocol):
    """What a module of a kind has."""

    def write(self, vector_ND: Float32s, bundle: Path) -> None:
        """Write the index; the same vectors give the same bytes.

        Raises
        ------
        BadParams
            If these vectors cannot be laid out so.
        """

    def open_index(self, index: faiss.Index, bundle: Path) -> VectorIndex | None:
        """Open what `write` wrote; None if FAISS's index is one of another kind.

        Raises
        ------
        BrokenBundle
            If a file beside the index does not match it.
        """


def selected(listed_N: Bools) -> tuple[faiss.IDSelectorBitmap, NDArray[np.uint8]]:
    """Return what lets FAISS see listed rows alone, and the bits, which must live as long."""
    bits = np.packbits(listed_N, bitorder="little")
    return faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits)), bits


def found(row_K: Ints, score_K: Float32s) -> tuple[Ints, Float32s]:
    """Leave out the places that a search left empty; it says -1."""
    is_row_K = row_K >= 0
    return row_K[is_row_K], score_K[is_row_K]
