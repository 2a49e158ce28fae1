"""The searchable part of a bundle: inner-product search over vectors, a trie over codes.

The search is exact for as long as that is fast, and looks at a few lists of vectors from there on;
`indexes` has other layouts.

Shapes: N items in the order of their ids, D width, K found rows, L code length.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from ibis import Table

from tessera.bundles.indexes import kinds
from tessera.bundles.indexes.door import VectorIndex
from tessera.contracts.arrays import Bools, Float32s, Ints
from tessera.contracts.errors import BadInput, BrokenBundle
from tessera.contracts.library_errors import translate_errors
from tessera.shared.codes.trie import Trie, build_trie, load_trie, save_trie


def write_vectors(item_vectors: Table, bundle: Path, kind: str = kinds.AUTO) -> int:
    """Write an index of a kind and the item of each row; return the number of rows.

    Raises
    ------
    BadInput
        If a vector is not finite and the index is to be another one than `flat`.
    BadParams
        If there is no such kind, or too few vectors for it.
    """
    rows = item_vectors.order_by("item_id").to_pyarrow()
    vector_ND = np.array(rows["vector"].to_pylist(), dtype=np.float32)
    kinds.write(vector_ND, bundle, kind)
    (bundle / "vectors.json").write_text(json.dumps(rows["item_id"].to_pylist()) + "\n")
    return len(vector_ND)


@dataclass(frozen=True, slots=True)
class Search:
    """The vectors of a bundle, ready to be asked."""

    index: VectorIndex
    ids: list[str]
    """Item of each row."""

    @classmethod
    def open(cls, bundle: Path, known: list[str] | None = None) -> Search:
        """Open what `write_vectors` wrote; vectors are mapped, not read.

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
            index = kinds.open_index(bundle)
            return cls(index, known if known is not None and known == ids else ids)

    def nearest(self, query_D: Float32s, most: int) -> list[tuple[str, float]]:
        """Return the nearest items of one query with their inner products; see `among`."""
        row_K, score_K = self.among(query_D, np.ones(len(self.ids), np.bool_), most)
        return [
            (self.ids[row], score)
            for row, score in zip(row_K.tolist(), score_K.tolist(), strict=True)
        ]

    def among(self, query_D: Float32s, listed_N: Bools, most: int) -> tuple[Ints, Float32s]:
        """Return rows and inner products of the nearest among the listed rows, best first.

        Equal products stand in the order of their ids.  A flat index finds the very nearest and
        cuts no tie; any other one finds as many as there are, and may leave a near one out.

        Raises
        ------
        BadInput
            If the query is no vector of the width of the index, or not finite.
        """
        if query_D.shape != (self.index.width,) or not np.isfinite(query_D).all():
            raise BadInput(
                f"a query of shape {query_D.shape} cannot be searched: it must hold "
                f"{self.index.width} finite numbers; train and publish again"
            )
        faiss.omp_set_num_threads(1)
        most = min(most, int(np.count_nonzero(listed_N)))
        if most == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        query_1D = np.ascontiguousarray(query_D[None, :], np.float32)
        row_K, score_K = self.index.among(query_1D, listed_N, most)
        order_K = np.lexsort((row_K, -score_K))[:most]
        return row_K[order_K], score_K[order_K]

    def like(self, item_id: str, most: int) -> list[tuple[str, float]]:
        """Return the items nearest to one, itself left out; none if it has no vector."""
        if item_id not in self.ids:
            return []
        near = self.nearest(self.index.vectors(self.ids.index(item_id), 1)[0], most + 1)
        return [pair for pair in near if pair[0] != item_id][:most]


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
