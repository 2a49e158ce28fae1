"""The searchable part of a bundle: exact inner-product search over vectors, a trie over codes.

Shapes: N items, D width.
"""

from __future__ import annotations

import json
from pathlib import Path

import faiss
import numpy as np
from ibis import Table
from numpy.typing import NDArray

from tessera.codes.trie import build_trie, save_trie

Floats = NDArray[np.float32]


def write_vectors(item_vectors: Table, bundle: Path) -> int:
    """Write a flat FAISS index and the item of each row; return the number of rows."""
    rows = item_vectors.order_by("item_id").to_pyarrow()
    vector_ND = np.array(rows["vector"].to_pylist(), dtype=np.float32)
    index = faiss.IndexFlatIP(vector_ND.shape[1])
    index.add(vector_ND)
    faiss.write_index(index, str(bundle / "vectors.faiss"))
    (bundle / "vectors.json").write_text(json.dumps(rows["item_id"].to_pylist()) + "\n")
    return len(vector_ND)


def search(bundle: Path, query_D: Floats, most: int) -> list[tuple[str, float]]:
    """Return the nearest items of one query with their inner products, best first."""
    faiss.omp_set_num_threads(1)
    index = faiss.read_index(str(bundle / "vectors.faiss"))
    ids = json.loads((bundle / "vectors.json").read_text())
    score_1K, row_1K = index.search(query_D[None, :].astype(np.float32), min(most, index.ntotal))
    pairs = zip(row_1K[0], score_1K[0], strict=True)
    return [(ids[row], float(score)) for row, score in pairs]


def write_trie(codes: Table, bundle: Path) -> None:
    """Write the trie over the codes and the item of each of its leaves."""
    rows = codes.order_by("item_id").to_pyarrow()
    code_NL = np.array(rows["code"].to_pylist(), dtype=np.int64)
    save_trie(build_trie(code_NL), bundle / "trie.safetensors")
    (bundle / "trie.json").write_text(json.dumps(rows["item_id"].to_pylist()) + "\n")
