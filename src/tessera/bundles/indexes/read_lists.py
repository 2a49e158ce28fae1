"""Which lists of vectors a search reads: the nearest that hold listed rows, until enough were seen.

Closed lists are passed over, so whoever may not have what lies near is given what lies next.
(A number of lists that only grows with the rows that are not listed finds nothing for them.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self, cast

import faiss
import numpy as np
from numpy.typing import NDArray

from tessera.bundles.indexes.door import found, selected
from tessera.contracts.arrays import Bools, Float32s, Ints

_LISTS = 4
"""Lists by square root of the vectors, as the FAISS guidelines have it."""
POINTS = 64
"""Vectors that the place of a list is learnt from."""
_READ = 256
"""Lists whose number of rows is looked at where every row is listed, and as many rows else."""
_MORE = 4
"""So many times more are looked at where too few were found."""
_COUNTED = 65_536
"""Listed rows from which is told how many a list holds; of more every so manieth is counted."""


def number_of_lists(count: int) -> int:
    """Return how many lists so many vectors lie in."""
    return min(int(_LISTS * count**0.5), count)


@dataclass(frozen=True, slots=True)
class ListReader:
    """An index of lists, ready to be asked."""

    index: faiss.IndexIVF
    list_N: NDArray[Any]
    """List that each row lies in."""
    centre_LD: Float32s

    @classmethod
    def of(cls, index: faiss.IndexIVF) -> Self:
        """Look up where each row lies, and let no thread read ahead.

        To start threads costs each search more than the lists do.
        """
        lists = faiss.downcast_InvertedLists(cast("faiss.InvertedLists", index.invlists))
        if isinstance(lists, faiss.OnDiskInvertedLists):
            lists.prefetch_nthread = 0
        list_N = np.zeros(index.ntotal, np.min_scalar_type(index.nlist))
        for one in range(index.nlist):
            if size := lists.list_size(one):
                list_N[faiss.rev_swig_ptr(lists.get_ids(one), size)] = one
        centre_LD = np.asarray(index.quantizer.reconstruct_n(0, index.nlist), np.float32)
        return cls(index, list_N, centre_LD)

    def near(
        self, query_1D: Float32s, listed_N: Bools, least: int, most: int
    ) -> tuple[Ints, Float32s]:
        """Return `most` rows, and `least` of them at any rate, with their products in the index."""
        order_L, open_L = self._open(query_1D, listed_N)
        seen_L = np.cumsum(open_L)
        enough = _READ * -(-len(listed_N) // self.index.nlist)
        while True:
            stop = int(np.searchsorted(seen_L, enough)) + 1
            row_K, score_K = self._read(query_1D, order_L[:stop], listed_N, most)
            if len(row_K) >= least:
                return row_K, score_K
            if stop >= len(order_L):  # what was counted missed lists of few listed rows
                return self._read(query_1D, np.arange(self.index.nlist), listed_N, most)
            enough *= _MORE

    def _open(self, query_1D: Float32s, listed_N: Bools) -> tuple[Ints, Ints]:
        """Return the lists that hold listed rows, nearest first, and how many about."""
        step = max(int(np.count_nonzero(listed_N)) // _COUNTED, 1)
        list_C = self.list_N[::step][listed_N[::step]]
        open_L = np.bincount(list_C, minlength=self.index.nlist) * step
        order_L = np.argsort(-(self.centre_LD @ query_1D[0]), kind="stable")
        order_L = order_L[open_L[order_L] > 0]
        return order_L, open_L[order_L]

    def _read(
        self, query_1D: Float32s, list_P: Ints, listed_N: Bools, most: int
    ) -> tuple[Ints, Float32s]:
        """Search in these lists alone."""
        how = faiss.SearchParametersIVF()
        how.sel, _bits = selected(listed_N)
        how.nprobe = len(list_P)
        list_P = np.ascontiguousarray(list_P, np.int64)
        product_P = np.ascontiguousarray(self.centre_LD[list_P] @ query_1D[0], np.float32)
        score_K, row_K = np.empty(most, np.float32), np.empty(most, np.int64)
        given = [faiss.swig_ptr(one) for one in (list_P, product_P, score_K, row_K)]
        search = vars(faiss.IndexIVF)["search_preassigned_c"]  # what it wraps takes no filter
        search(self.index, 1, faiss.swig_ptr(query_1D), most, *given, False, how)
        return found(row_K, score_K)
