"""The searchable part of a bundle: exact inner-product search over vectors, a trie over codes.

Shapes: N items, D width.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from ibis import Table

from tessera.contracts.arrays import Float32s
from tessera.contracts.errors import BadInput, BrokenBundle
from tessera.contracts.library_errors import translate_errors
from tessera.shared.codes.trie import build_trie, save_trie


def write_vectors(item_vectors: Table, bundle: Path) -> int:
    """Write a flat FAISS index and the item of each row; return the number of rows."""
    rows = item_vectors.order_by("item_id").to_pyarrow()
    vector_ND = np.array(rows["vector"].to_pylist(), dtype=np.float32)
    index = faiss.IndexFlatIP(vector_ND.shape[1])
    index.add(vector_ND)
    faiss.write_index(index, str(bundle / "vectors.faiss"))
    (bundle / "vectors.json").write_text(json.dumps(rows["item_id"].to_pylist()) + "\n")
    return len(vector_ND)


@dataclass(frozen=True, slots=True)
class Search:
    """The vectors of a bundle, ready to be asked."""

    index: faiss.Index
    ids: list[str]
    """Item of each row."""

    @classmethod
    def open(cls, bundle: Path) -> Search:
        """Read what `write_vectors` wrote.

        Raises
        ------
        BrokenBundle
            If it is not that.
        """
        with translate_errors(
            BrokenBundle, f"{bundle.name}: its vectors cannot be read", "publish it again"
        ):
            ids = json.loads((bundle / "vectors.json").read_text())
            return cls(faiss.read_index(str(bundle / "vectors.faiss")), ids)

    def nearest(self, query_D: Float32s, most: int) -> list[tuple[str, float]]:
        """Return the nearest items of one query with their inner products, best first.

        Equal products stand in the order of their ids.  Whatever the search leaves empty (it says
        -1) is left out.

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
        query_1D, most = query_D[None, :].astype(np.float32), min(most, self.index.ntotal)
        # A tie may straddle the end of a search, which cuts it anywhere: all rows are few enough.
        score_1K, row_1K = self.index.search(query_1D, self.index.ntotal)
        pairs = zip(row_1K[0].tolist(), score_1K[0].tolist(), strict=True)
        found = [(self.ids[row], score) for row, score in pairs if row >= 0]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:most]

    def like(self, item_id: str, most: int) -> list[tuple[str, float]]:
        """Return the items nearest to one, itself left out; none if it has no vector."""
        if item_id not in self.ids:
            return []
        vector_D = np.asarray(self.index.reconstruct(self.ids.index(item_id)), np.float32)
        near = self.nearest(vector_D, most + 1)
        return [pair for pair in near if pair[0] != item_id][:most]


def write_trie(codes: Table, bundle: Path) -> None:
    """Write the trie over the codes and the item of each of its leaves."""
    rows = codes.order_by("item_id").to_pyarrow()
    code_NL = np.array(rows["code"].to_pylist(), dtype=np.int64)
    save_trie(build_trie(code_NL), bundle / "trie.safetensors")
    (bundle / "trie.json").write_text(json.dumps(rows["item_id"].to_pylist()) + "\n")
