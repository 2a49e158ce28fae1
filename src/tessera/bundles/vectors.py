"""The searchable part of a bundle: inner-product search over vectors, a trie over codes.

The search is exact for as long as that is fast, and looks at a few lists of vectors from there on.

Shapes: N items in the order of their ids, D width, K found rows, L code length.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from ibis import Table

from tessera.contracts.arrays import Bools, Float32s, Ints
from tessera.contracts.errors import BadInput, BrokenBundle
from tessera.contracts.library_errors import translate_errors
from tessera.shared.codes.trie import Trie, build_trie, load_trie, save_trie

EXACT_BELOW = 50_000
"""So many vectors are all looked at; `make bench-retrieval` says what it costs beyond."""
_LISTS = 4
"""Lists by square root of the vectors, as the FAISS guidelines have it."""
_POINTS = 64
"""Vectors that the place of a list is learnt from."""
_READ = 128
"""Lists that are read where every row is listed."""


def write_vectors(item_vectors: Table, bundle: Path, exact_below: int = EXACT_BELOW) -> int:
    """Write a FAISS index and the item of each row; return the number of rows.

    From `exact_below` vectors on it is one of lists, of which a search reads a few.
    """
    rows = item_vectors.order_by("item_id").to_pyarrow()
    vector_ND = np.array(rows["vector"].to_pylist(), dtype=np.float32)
    exact = len(vector_ND) < exact_below
    index = faiss.IndexFlatIP(vector_ND.shape[1]) if exact else _lists(vector_ND)
    index.add(vector_ND)
    faiss.write_index(index, str(bundle / "vectors.faiss"))
    (bundle / "vectors.json").write_text(json.dumps(rows["item_id"].to_pylist()) + "\n")
    return len(vector_ND)


def _lists(vector_ND: Float32s) -> faiss.IndexIVFFlat:
    """Learn where the lists lie; on one thread, so that the same vectors give the same bytes."""
    faiss.omp_set_num_threads(1)
    count, width = vector_ND.shape
    lists = int(_LISTS * count**0.5)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid = _POINTS
    index.train(vector_ND)
    return index


@dataclass(frozen=True, slots=True)
class Search:
    """The vectors of a bundle, ready to be asked."""

    index: faiss.Index
    ids: list[str]
    """Item of each row."""

    @classmethod
    def open(cls, bundle: Path, known: list[str] | None = None) -> Search:
        """Open what `write_vectors` wrote; lists of vectors are mapped, not read.

        Where the ids are those `known` already they are kept once.

        Raises
        ------
        BrokenBundle
            If it is not that.
        """
        with translate_errors(
            BrokenBundle, f"{bundle.name}: its vectors cannot be read", "publish it again"
        ):
            ids = json.loads((bundle / "vectors.json").read_text())
            index = faiss.read_index(str(bundle / "vectors.faiss"), faiss.IO_FLAG_MMAP)
            if isinstance(index, faiss.IndexIVF):
                index.make_direct_map()  # else no vector can be read again
                _read_when_asked(index)
            return cls(index, known if known is not None and known == ids else ids)

    @property
    def lists(self) -> int:
        """Number of lists, 1 where every vector is looked at."""
        return int(self.index.nlist) if isinstance(self.index, faiss.IndexIVF) else 1

    def nearest(self, query_D: Float32s, most: int) -> list[tuple[str, float]]:
        """Return the nearest items of one query with their inner products; see `among`."""
        row_K, score_K = self.among(query_D, np.ones(len(self.ids), np.bool_), most)
        return [
            (self.ids[row], score)
            for row, score in zip(row_K.tolist(), score_K.tolist(), strict=True)
        ]

    def among(self, query_D: Float32s, listed_N: Bools, most: int) -> tuple[Ints, Float32s]:
        """Return rows and inner products of the nearest among the listed rows, best first.

        Equal products stand in the order of their ids.  An exact index finds the very nearest and
        cuts no tie; one of lists reads more of them the fewer rows are listed, finds as many as
        there are, and may leave a near one out.  Whatever the search leaves empty (it says -1) is
        left out.

        Raises
        ------
        BadInput
            If the query is no vector of the width of the index, or not finite.
        """
        if query_D.shape != (self.index.d,) or not np.isfinite(query_D).all():
            raise BadInput(
                f"a query of shape {query_D.shape} cannot be searched: it must hold {self.index.d} "
                "finite numbers; train and publish again"
            )
        faiss.omp_set_num_threads(1)
        most = min(most, int(np.count_nonzero(listed_N)))
        if most == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        find = self._few_lists if self.lists > 1 else self._exact
        row_K, score_K = find(query_D[None, :].astype(np.float32), listed_N, most)
        order_K = np.lexsort((row_K, -score_K))[:most]
        return row_K[order_K], score_K[order_K]

    def _exact(self, query_1D: Float32s, listed_N: Bools, most: int) -> tuple[Ints, Float32s]:
        """Ask for more than wanted until nothing that ties with the last place is cut off."""
        how, listed = faiss.SearchParameters(), int(np.count_nonzero(listed_N))
        asked = min(most + 1, listed)
        while True:
            row_K, score_K = self._search(query_1D, asked, listed_N, how)
            if asked == listed or len(row_K) < asked or score_K[-1] < score_K[most - 1]:
                return row_K, score_K
            asked = min(2 * asked, listed)

    def _few_lists(self, query_1D: Float32s, listed_N: Bools, most: int) -> tuple[Ints, Float32s]:
        """Read so many lists that the same number of listed rows is looked at, however few are."""
        how = faiss.SearchParametersIVF()
        listed = int(np.count_nonzero(listed_N))
        how.nprobe = min(-(-_READ * len(listed_N) // listed), self.lists)
        while True:
            row_K, score_K = self._search(query_1D, most, listed_N, how)
            if len(row_K) == most or how.nprobe == self.lists:
                return row_K, score_K
            how.nprobe = min(4 * how.nprobe, self.lists)

    def _search(
        self, query_1D: Float32s, asked: int, listed_N: Bools, how: faiss.SearchParameters
    ) -> tuple[Ints, Float32s]:
        bits = np.packbits(listed_N, bitorder="little")  # lives as long as what points to it
        only = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
        how.sel = only
        score_1K, row_1K = self.index.search(query_1D, asked, params=how)
        is_row_K = row_1K[0] >= 0
        return row_1K[0][is_row_K], score_1K[0][is_row_K]

    def like(self, item_id: str, most: int) -> list[tuple[str, float]]:
        """Return the items nearest to one, itself left out; none if it has no vector."""
        if item_id not in self.ids:
            return []
        vector_D = np.asarray(self.index.reconstruct(self.ids.index(item_id)), np.float32)
        near = self.nearest(vector_D, most + 1)
        return [pair for pair in near if pair[0] != item_id][:most]


def _read_when_asked(index: faiss.IndexIVF) -> None:
    """Let no thread read ahead: to start some costs each search more than the lists do."""
    lists = index.invlists and faiss.downcast_InvertedLists(index.invlists)
    if isinstance(lists, faiss.OnDiskInvertedLists):
        lists.prefetch_nthread = 0


def write_trie(codes: Table, bundle: Path) -> None:
    """Write the trie over the codes and the item of each of its leaves."""
    rows = codes.order_by("item_id").to_pyarrow()
    code_NL = np.array(rows["code"].to_pylist(), dtype=np.int64)
    save_trie(build_trie(code_NL), bundle / "trie.safetensors")
    (bundle / "trie.json").write_text(json.dumps(rows["item_id"].to_pylist()) + "\n")


def read_trie(bundle: Path) -> tuple[list[str], Trie]:
    """Return the items of a trie, by row, and the trie."""
    ids = json.loads((bundle / "trie.json").read_text())
    return ids, load_trie(bundle / "trie.safetensors")
